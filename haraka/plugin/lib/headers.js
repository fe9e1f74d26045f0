'use strict'

// What must be known at delivery time but is only there while the message comes in and is queued: the HELO name and the
// headers that columns want. Kept in transaction.notes as plain strings, which the queue file carries over restarts and splits.

const { plain } = require('./text')

/** A header's first value on one line (RFC 5322 2.2.3: a line break before white space is taken out). */
function unfolded(value) {
  return value.replace(/\r?\n(?=[ \t])/g, '').trim()
}

function first(header, name) {
  const [value] = header.get_all(name)
  return value === undefined ? '' : plain(unfolded(String(value)))
}

/** name -> value of the wanted headers that the message has. */
function select(header, wanted) {
  const found = {}
  for (const name of wanted) {
    // The plugin that this one replaces looked for a header that is really called custom_FIELD.
    const value = first(header, name) || first(header, `custom_${name}`)
    if (value !== '') found[name] = value
  }
  return found
}

/** What is kept of a message as it begins, under event.NOTES: who handed it in. */
function begun(connection) {
  const helo = plain(connection.hello?.host)
  return helo === '' ? {} : { helo }
}

/** What is kept of it as it is queued; `before`: what was kept as it began, if anybody handed it in. */
function queued(transaction, wanted, before) {
  const custom = select(transaction.header, wanted)
  const helo = before?.helo
  return helo ? { helo, custom } : { custom } // spread, it takes twenty times as long
}

/** Characters of a header's name (RFC 5322 2.2), so many at most. */
const NAME = /^[!-9;-~]{1,200}$/
const MAX_NAMES = 1000

/**
 * Header names of an ini value, a Redis set or a file: lower case, no placeholder, nothing that cannot be one. `constructor` and
 * the like every object has, also the one in which Haraka keeps the headers of a message: what stands there is no header.
 */
function names(list) {
  const found = new Set()
  for (const given of list) {
    if (found.size === MAX_NAMES) break
    const name = typeof given === 'string' ? given.trim().toLowerCase() : ''
    if (name !== '-' && NAME.test(name) && !(name in Object.prototype)) found.add(name)
  }
  return [...found]
}

module.exports = { begun, queued, names }
