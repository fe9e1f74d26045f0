'use strict'

// What must be known at delivery time but is only there while the message comes in: the HELO name and the headers that
// columns want. Kept in transaction.notes as plain strings, which the queue file carries over restarts and splits.

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

/** What is kept of a message, as it stands under event.NOTES. */
function keep(connection, wanted) {
  const helo = plain(connection.hello?.host)
  const custom = select(connection.transaction.header, wanted)
  return helo === '' ? { custom } : { helo, custom } // spread, it takes twenty times as long
}

/** Header names of an ini value or a Redis set: lower case, no placeholder. */
function names(list) {
  return list.map((name) => String(name).trim().toLowerCase()).filter((name) => name !== '' && name !== '-')
}

module.exports = { keep, names }
