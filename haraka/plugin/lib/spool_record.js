'use strict'

// A batch as it stands in a spool file: one line of JSON (version, producer, hash tag, number, parts, when it was sent,
// checksum), the events' bytes, a line break. Pure. The unit is the whole batch with its number: regrouped, its events would
// be taken for copies. Lines of the first version have neither version nor when it was sent.

const { createHash } = require('node:crypto')

const { Batch } = require('./batch')

const LINE_BREAK = 0x0a
const MAX_HEADER_BYTES = 4096
const VERSION = 2
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

function parse(line) {
  try {
    const values = JSON.parse(line)
    const sum = values.pop()
    const [version, producer, tag, seq, parts, sent] =
      typeof values[0] === 'string' ? [1, ...values, UNKNOWN] : values
    const bytes = parts.reduce((total, [, , length]) => total + length, 0)
    const isReadable = version <= VERSION && Number.isInteger(bytes) && bytes >= 0
    return isReadable ? { producer, tag, seq, parts, sent, bytes, sum, fields: values } : undefined
  } catch {
    return undefined
  }
}

/** The record at `offset`: {batch, tag, sent, end}, or {stop: INCOMPLETE | DAMAGED, wanted: bytes of it that are needed}. */
function decode(buffer, offset = 0) {
  const lineEnd = buffer.indexOf(LINE_BREAK, offset)
  if (lineEnd === -1 || lineEnd - offset > MAX_HEADER_BYTES) {
    return buffer.length - offset > MAX_HEADER_BYTES
      ? { stop: DAMAGED }
      : { stop: INCOMPLETE, wanted: MAX_HEADER_BYTES + 1 }
  }
  const header = parse(buffer.toString('utf8', offset, lineEnd))
  if (!header) return { stop: DAMAGED }
  const start = lineEnd + 1
  const end = start + header.bytes + 1
  if (end > buffer.length) return { stop: INCOMPLETE, wanted: end - offset }
  const { producer, tag, seq, parts, sent, sum, fields } = header
  const payload = buffer.subarray(start, end - 1)
  if (buffer[end - 1] !== LINE_BREAK || checksum(fields, payload) !== sum) return { stop: DAMAGED }
  return { batch: new Batch(producer, seq, split(parts, payload)), tag, sent, end }
}

function split(parts, payload) {
  let at = 0
  return parts.map(([type, count, bytes]) => {
    at += bytes
    return { type, count, json: payload.subarray(at - bytes, at) }
  })
}

module.exports = { encode, decode, INCOMPLETE, DAMAGED }
