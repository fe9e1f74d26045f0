'use strict'

// Text that remote mail servers and message headers wrote: it may be huge, hold halves of surrogate pairs, or be no string
// at all. What has no value becomes '' so that a field can be left out.

const MAX_BYTES = 8192
/** Stands at the end of what was cut. */
const MARK = '\u2026 [cut]'

const encoder = new TextEncoder()
const scratch = new Uint8Array(MAX_BYTES - encoder.encode(MARK).length)

// Everything that JSON.stringify would change, and surrogates, which toWellFormed must see. Most values have none of it.
// eslint-disable-next-line no-control-regex
const NEEDS_ESCAPE = /[\u0000-\u001f"\\\ud800-\udfff]/
const BLANK = 0x20 // and what is below: blanks, line ends, control characters

/** Whether it can stand between quotes as it is, like nearly every value. */
function isUsual(value) {
  return (
    typeof value === 'string' && value.length * 3 <= MAX_BYTES && value !== '' && !NEEDS_ESCAPE.test(value)
  )
}

/** Strings and numbers are text; of an object, as careless plugins put it into notes, there is nothing to show. */
function asText(value) {
  if (typeof value === 'string') return value
  return ['number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : ''
}

/** A value without blanks at its ends, where it is a text. Not by a pattern, which a long run of them in the middle makes slow. */
function trimmed(text) {
  if (typeof text !== 'string') return text
  if (text.charCodeAt(0) > BLANK && text.charCodeAt(text.length - 1) > BLANK) return text
  let begin = 0
  let end = text.length
  while (begin < end && text.charCodeAt(begin) <= BLANK) begin++
  while (end > begin && text.charCodeAt(end - 1) <= BLANK) end--
  return text.slice(begin, end)
}

/** The value as a string of MAX_BYTES of UTF-8 at most: else its beginning, never half a character, and a mark. */
function bounded(value) {
  const text = trimmed(asText(value))
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 <= MAX_BYTES || Buffer.byteLength(text) <= MAX_BYTES) return text
  return text.slice(0, encoder.encodeInto(text, scratch).read) + MARK
}

/** The same as a string that any UTF-8 reader takes. */
function plain(value) {
  return bounded(value).toWellFormed()
}

/** A value as text; '' where it is an object that is none. Marks come out of the queue file, where anything can stand. */
function textOf(value) {
  try {
    return String(value ?? '')
  } catch {
    return ''
  }
}

module.exports = { MARK, MAX_BYTES, bounded, isUsual, plain, textOf, trimmed }
