'use strict'

// What the first line of a spool record may say. Pure. A checksum tells of a disk that failed, and nothing of who wrote the
// record: what the server would refuse, or take for something else, must not get as far, or it would be sent for ever and
// hold up all that follows.

const { TYPES } = require('./keys')

const VERSION = 2
const PRODUCER = /^[\w.-]{1,200}$/
const TAG = /^[^{}\s\p{Cc}]{1,200}$/u
/** So many digits publish.lua takes. */
const MAX_COUNT = 999_999_999_999_999
/** More than the largest batch_max_kb and one event give. */
const MAX_BYTES = 268_435_456

function isWhole(value, min, max) {
  return Number.isInteger(value) && value >= min && value <= max
}

function matches(pattern, value) {
  return typeof value === 'string' && pattern.test(value)
}

/** Each type once at most, with the number and the bytes of its events. */
function areParts(parts) {
  if (!Array.isArray(parts) || parts.length === 0 || !parts.every(isPart)) return false
  return new Set(parts.map(([type]) => type)).size === parts.length && bytesOf(parts) <= MAX_BYTES
}

function isPart(part) {
  if (!Array.isArray(part) || part.length !== 3) return false
  const [type, count, bytes] = part
  return TYPES.includes(type) && isWhole(count, 1, MAX_COUNT) && isWhole(bytes, 2, MAX_BYTES)
}

function bytesOf(parts) {
  return parts.reduce((sum, [, , bytes]) => sum + bytes, 0)
}

/** What is wrong with the fields of a record, undefined where nothing is. */
function problem({ version, producer, tag, seq, parts, sent, sum }) {
  if (!isWhole(version, 1, VERSION)) return `version: 1 or ${VERSION} expected`
  if (!matches(PRODUCER, producer)) return 'producer: a name expected'
  if (!matches(TAG, tag)) return 'hash tag: a name expected'
  if (!isWhole(seq, 1, MAX_COUNT)) return 'seq: a whole number from 1 expected'
  if (!areParts(parts)) return 'parts: [type, count, bytes] of each type expected'
  if (!isWhole(sent, 0, Number.MAX_SAFE_INTEGER)) return 'sent: milliseconds since the epoch expected'
  return typeof sum === 'string' ? undefined : 'checksum: a text expected'
}

/** The same of the events of its parts [{type, count, json}]. */
function problemOfEvents(parts) {
  const wrong = parts.find(({ count, json }) => lengthOf(json) !== count)
  return wrong && `${wrong.type}: an array of ${wrong.count} events expected`
}

/** Length of a JSON array, undefined where it is none. */
function lengthOf(json) {
  try {
    const events = JSON.parse(json)
    return Array.isArray(events) ? events.length : undefined
  } catch {
    return undefined
  }
}

module.exports = { VERSION, PRODUCER, TAG, bytesOf, problem, problemOfEvents }
