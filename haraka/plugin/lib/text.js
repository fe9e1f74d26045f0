'use strict'

// Text that remote mail servers and message headers wrote: it may be huge, hold halves of surrogate pairs, or be no string
// at all. What has no value becomes '' so that a field can be left out.

const MAX_BYTES = 8192

const encoder = new TextEncoder()
const scratch = new Uint8Array(MAX_BYTES)

// Everything that JSON.stringify would change, and surrogates, which toWellFormed must see. Most values have none of it.
// eslint-disable-next-line no-control-regex
const NEEDS_ESCAPE = /[\u0000-\u001f"\\\ud800-\udfff]/

/** Whether it can stand between quotes as it is, like nearly every value. */
function isUsual(value) {
  return (
    typeof value === 'string' && value.length * 3 <= MAX_BYTES && value !== '' && !NEEDS_ESCAPE.test(value)
  )
}

/** The value as a string, the longest beginning of it that fits into MAX_BYTES of UTF-8, never half a character. */
function bounded(value) {
  if (value === undefined || value === null) return ''
  const text = typeof value === 'string' ? value : String(value)
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 <= MAX_BYTES) return text
  return text.slice(0, encoder.encodeInto(text, scratch).read)
}

/** The same as a string that any UTF-8 reader takes. */
function plain(value) {
  return bounded(value).toWellFormed()
}

module.exports = { MAX_BYTES, bounded, isUsual, plain }
