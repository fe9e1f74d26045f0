'use strict'

const assert = require('node:assert/strict')
const { existsSync, readFileSync } = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { BREAKAGES, edited } = require('./breakages')

test('each kept breakage finds the text that it changes, and the tests that have to notice', () => {
  for (const breakage of BREAKAGES) {
    const [name, file, , , tests] = breakage
    const source = readFileSync(path.join(__dirname, '..', file), 'utf8')
    assert.notEqual(edited(source, breakage), source, name)
    for (const each of tests.split(' ')) assert.ok(existsSync(path.join(__dirname, `${each}.test.js`)), each)
  }
})
