'use strict'

// Text of remote servers, of headers and of inis takes time in proportion to its length: no pattern goes back and forth.

const assert = require('node:assert/strict')
const { describe, it } = require('node:test')

const { enhancedIn } = require('../lib/enhanced')
const failure = require('../lib/failure')
const { logLine } = require('../lib/log_line')
const { plain } = require('../lib/text')

const SIZE = 25_000
const PARTS = [
  ...[
    ' ',
    '\t',
    '\r\n ',
    '(',
    '[',
    '<',
    '#',
    '1',
    '.',
    '5.1.1',
    '5.1.',
    '550 ',
    '550-',
    ':',
    ':1',
    ']',
    '"',
    '\\',
    ',',
  ],
  ...[
    'dsn',
    'status=',
    'Some recipients failed: <',
    'Some recipients temp failed: <',
    'Too many failures (',
    ')',
    '\ud800',
  ],
]
const READERS = {
  enhanced: (text) => enhancedIn(text, '550'),
  shown: (text) => failure.shown(text),
  deferred: (text) => failure.describe({ dsn_smtp_response: text, reason: text }, true, text, '4'),
  bounced: (text) => failure.describe({ dsn_msg: text }, false, `Too many failures (${text}`, '5'),
  plain,
  logLine,
}

function leastMs(read, text) {
  let best = Infinity
  for (let run = 0; run < 3; run++) {
    const begin = process.cpuUsage()
    read(text)
    const { user, system } = process.cpuUsage(begin)
    best = Math.min(best, (user + system) / 1000)
  }
  return best
}

describe('text from outside', () => {
  for (const [name, read] of Object.entries(READERS)) {
    it(`takes four times as long where there is four times as much: ${name}`, () => {
      for (const part of PARTS) {
        for (const end of ['', 'x', ')']) {
          const [short, long] = [SIZE, 4 * SIZE].map((size) => part.repeat(size / part.length) + end)
          const took = leastMs(read, long)
          assert.ok(took < 100 || took / leastMs(read, short) < 8, `${JSON.stringify(part)} ${took} ms`)
        }
      }
    })
  }
})
