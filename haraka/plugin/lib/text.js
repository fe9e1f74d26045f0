'use strict'

// JSON text of single values. Remote mail servers and message headers wrote the values: they may be huge, hold halves of
// surrogate pairs, or be no strings at all. What has no value becomes '' so that a field can be left out.

const MAX_BYTES = 8192

const encoder = new TextEncoder()
const scratch = new Uint8Array(MAX_BYTES)

// Everything that JSON.stringify would change, and surrogates, which toWellFormed must see. Most values have none of it.
// eslint-disable-next-line no-control-regex
const NEEDS_ESCAPE = /[\u0000-\u001f"\\\ud800-\udfff]/

/** The longest beginning of a string that fits into MAX_BYTES of UTF-8, never half a character. */
function bounded(text) {
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 <= MAX_BYTES) return text
  return text.slice(0, encoder.encodeInto(text, scratch).read)
}

/** A plain string that any UTF-8 reader takes, or '' where there is no value. */
function plain(value) {
  if (value === undefined || value === null) return ''
  return bounded(typeof value === 'string' ? value : String(value)).toWellFormed()
}

/** JSON string literal of a value, or '' where there is no value. */
function quoted(value) {
  if (value === undefined || value === null || value === '') return ''
  const text = bounded(typeof value === 'string' ? value : String(value))
  if (!NEEDS_ESCAPE.test(text)) return text === '' ? '' : `"${text}"`
  return JSON.stringify(text.toWellFormed())
}

module.exports = { MAX_BYTES, plain, quoted }
