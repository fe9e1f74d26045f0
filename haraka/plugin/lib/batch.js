'use strict'

// A batch: the unit of publishing, of spooling and of sending again. Immutable once it is formed: the same producer, number
// and bytes however often it is sent, so that the server can tell a copy (publish.lua).

const { complete } = require('./event')
const { TYPES } = require('./keys')

class Batch {
  /** parts: [{type, count, json: bytes}] in the order of TYPES, without empty ones. */
  constructor(producer, seq, parts) {
    this.producer = producer
    this.seq = seq
    this.parts = parts
    this.counts = TYPES.map((type) => parts.find((part) => part.type === type)?.count ?? 0)
    this.events = this.counts.reduce((sum, count) => sum + count, 0)
    this.length = parts.reduce((sum, part) => sum + part.json.length, 0)
    Object.freeze(this)
  }

  /** Arguments of the publish script; givenUp: counts by type of lost batches before this one, if any. */
  args(givenUp) {
    const args = [this.producer, String(this.seq), givenUp ? givenUp.join(' ') : '']
    for (const { type, count, json } of this.parts) args.push(type, String(count), json)
    return args
  }
}

/** Form a batch of events [{type, body}]; here each gets its id: producer, number of the batch, index in it. */
function form(producer, seq, events) {
  const id = `${producer}:${seq}:`
  const lists = { delivered: '', deferred: '', bounce: '' }
  const counts = { delivered: 0, deferred: 0, bounce: 0 }
  for (let index = 0; index < events.length; index++) {
    const { type, body } = events[index]
    lists[type] += (counts[type]++ > 0 ? ',' : '[') + complete(type, id + index, body)
  }
  const parts = TYPES.filter((type) => counts[type] > 0).map((type) => {
    return { type, count: counts[type], json: Buffer.from(`${lists[type]}]`) }
  })
  return new Batch(producer, seq, parts)
}

module.exports = { Batch, form }
