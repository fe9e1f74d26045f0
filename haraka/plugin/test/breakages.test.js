'use strict'

const assert = require('node:assert/strict')
const { existsSync, readFileSync } = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { BREAKAGES } = require('./breakages')

test('each kept breakage finds the text that it changes, and the tests that have to notice', () => {
  for (const [name, file, from, to, tests] of BREAKAGES) {
    const source = readFileSync(path.join(__dirname, '..', file), 'utf8')
    assert.equal(source.split(from).length - 1, 1, `${name}: occurrences in ${file}`)
    assert.notEqual(from, to, name)
    for (const each of tests.split(' ')) assert.ok(existsSync(path.join(__dirname, `${each}.test.js`)), each)
  }
})
