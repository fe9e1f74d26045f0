'use strict'

// One batch as a record of a spool file: one line of JSON (version, producer, hash tag, number, parts, when it was sent,
// checksum), and one line of the events' bytes. Pure. The unit is the whole batch with its number: regrouped, its events would
// be taken for copies. Lines of the first version have neither version nor when it was sent.
//
// JSON holds no line break, so each record is two lines: behind a part that cannot be read the next record is found again.

const { createHash } = require('node:crypto')

const { Batch } = require('./batch')
const { VERSION, bytesOf, problem, problemOfEvents } = require('./record_fields')

const LINE_BREAK = 0x0a
const MAX_HEADER_BYTES = 4096
/** Of a record that does not say when it was sent: it may have been, long ago. */
const UNKNOWN = 1

/** Why reading stopped: more bytes are needed, or what is here was never written like this. */
const INCOMPLETE = 'incomplete'
const DAMAGED = 'damaged'

function checksum(fields, payload) {
  return createHash('sha256').update(JSON.stringify(fields)).update(payload).digest('hex').slice(0, 16)
}

/** sent: when the batch was sent without an answer, in ms since the epoch; 0: never. */
function encode(batch, tag, sent = 0) {
  const parts = batch.parts.map(({ type, count, json }) => [type, count, json.length])
  const payload = Buffer.concat(batch.parts.map(({ json }) => json))
  const fields = [VERSION, batch.producer, tag, batch.seq, parts, sent]
  const header = JSON.stringify([...fields, checksum(fields, payload)])
  return Buffer.concat([Buffer.from(`${header}\n`), payload, Buffer.from('\n')])
}

/** The fields of a first line, or why it is none. */
function parse(line) {
  let values
  try {
    values = JSON.parse(line)
  } catch {
    return { why: 'no record' }
  }
  if (!Array.isArray(values)) return { why: 'no record' }
  const sum = values.pop()
  const [version, producer, tag, seq, parts, sent] =
    typeof values[0] === 'string' ? [1, ...values, UNKNOWN] : values
  const fields = { version, producer, tag, seq, parts, sent, sum }
  return { ...fields, signed: values, why: problem(fields) }
}

function damaged(why) {
  return { stop: DAMAGED, why }
}

/** The record at `offset`: {batch, tag, sent, end}, or {stop: DAMAGED, why} or {stop: INCOMPLETE, wanted: bytes of it}. */
function decode(buffer, offset = 0) {
  const lineEnd = buffer.indexOf(LINE_BREAK, offset)
  if (lineEnd === -1 || lineEnd - offset > MAX_HEADER_BYTES) {
    return buffer.length - offset > MAX_HEADER_BYTES
      ? damaged('no record')
      : { stop: INCOMPLETE, wanted: MAX_HEADER_BYTES + 1 }
  }
  const header = parse(buffer.toString('utf8', offset, lineEnd))
  if (header.why) return damaged(header.why)
  const start = lineEnd + 1
  const end = start + bytesOf(header.parts) + 1
  const found = buffer.indexOf(LINE_BREAK, start)
  if (found === -1 && end > buffer.length) return { stop: INCOMPLETE, wanted: end - offset }
  if (found !== end - 1) return damaged('another number of bytes than it says')
  return checked(header, buffer.subarray(start, end - 1), end)
}

/** The record, once its checksum and its events are looked at. */
function checked({ producer, tag, seq, parts, sent, sum, signed }, payload, end) {
  if (checksum(signed, payload) !== sum) return damaged('another checksum than it says')
  const batch = new Batch(producer, seq, split(parts, payload))
  const why = problemOfEvents(batch.parts)
  return why ? damaged(why) : { batch, tag, sent, end }
}

function split(parts, payload) {
  let at = 0
  return parts.map(([type, count, bytes]) => {
    at += bytes
    return { type, count, json: payload.subarray(at - bytes, at) }
  })
}

/** Where, behind the first line of a buffer, a record begins; its length where none does. */
function nextRecord(buffer) {
  for (let at = buffer.indexOf(LINE_BREAK) + 1; at > 0; at = buffer.indexOf(LINE_BREAK, at) + 1) {
    if (at === buffer.length || decode(buffer, at).stop !== DAMAGED) return at
  }
  return buffer.length
}

module.exports = { encode, decode, nextRecord, INCOMPLETE, DAMAGED }
