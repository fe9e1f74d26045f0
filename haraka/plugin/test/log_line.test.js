'use strict'

const assert = require('node:assert/strict')
const { readFileSync, readdirSync } = require('node:fs')
const path = require('node:path')
const { describe, it } = require('node:test')

const { MAX_LENGTH, logLine, logOf } = require('../lib/log_line')

const ROOT = path.join(__dirname, '..')
const EVIL =
  '550 [/red]\u001b]0;owned\u0007\u009b5m\u202e\u2066\u2028\u007f\r\n[INFO] forged\u3164\u{e0041}\ud800'
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u3164]/u

describe('a line of the log', () => {
  it('holds what others wrote as escapes, and stays one line', () => {
    const line = logLine(`bounce not accounted for: ${EVIL}`)
    assert.doesNotMatch(line, UNSEEN)
    assert.match(line, /\\x1b\]0;owned\\x07\\x9b5m\\u202e\\u2066\\u2028\\x7f\\x0d\\x0a\[INFO\] forged\\u3164/)
    assert.equal(
      logLine('cannot publish to {haraka:accounting}: grüße'),
      'cannot publish to {haraka:accounting}: grüße',
    )
  })

  it('is bounded, whatever was in it', () => {
    for (const text of ['x'.repeat(10 ** 7), EVIL.repeat(10 ** 5), '\u{1f600}'.repeat(10 ** 6)]) {
      assert.ok(logLine(text).length <= MAX_LENGTH)
    }
    assert.equal(logLine('x'.repeat(MAX_LENGTH)), 'x'.repeat(MAX_LENGTH))
  })

  it('is made of whatever is no text', () => {
    for (const value of [undefined, null, 5, {}, new Error(EVIL)]) assert.doesNotMatch(logLine(value), UNSEEN)
  })

  it('goes out on each level so', () => {
    const lines = []
    const plugin = {}
    for (const level of ['debug', 'info', 'warn', 'error']) plugin[`log${level}`] = (line) => lines.push(line)
    for (const tell of Object.values(logOf(plugin))) tell(EVIL)
    assert.deepEqual(lines, Array(4).fill(logLine(EVIL)))
  })

  it('is the only way to the log', () => {
    const files = ['index.js', ...readdirSync(path.join(ROOT, 'lib')).map((name) => `lib/${name}`)]
    const found = files
      .filter((file) => file.endsWith('.js') && file !== 'lib/log_line.js')
      .flatMap((file) => {
        const calls = readFileSync(path.join(ROOT, file), 'utf8').match(
          /(?:\.log(?:debug|info|notice|warn|error|crit)\?*\.*\(|console\.\w+\().*/g,
        )
        return (calls ?? [])
          .filter((call) => /[`$]|message|stack/.test(call) && !/logLine\(/.test(call))
          .map((call) => `${file}: ${call}`)
      })
    assert.deepEqual(found, [])
  })
})
