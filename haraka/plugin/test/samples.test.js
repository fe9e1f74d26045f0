'use strict'

// schemas/samples: what the plugin publishes for recorded hook calls. The worker's tests decode the same files, so a change
// of the contract on one side turns the other side red. `npm run samples` writes them again.

const assert = require('node:assert/strict')
const { existsSync, mkdirSync, readFileSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { form } = require('../lib/batch')
const { build } = require('../lib/event')
const { scenarios, calls } = require('./support/hooks')

const SAMPLES = path.join(__dirname, '..', '..', '..', 'schemas', 'samples')

function entries(scenario) {
  const events = calls(scenario).map(({ type, now, hmail, params, sock }) => ({
    type,
    body: build[type](hmail, params, { now, node: 'mx1.example', vmta: 'vmta-a', ...sock }),
  }))
  const { parts } = form('mx1.example-0123456789ab', 7, events)
  return Object.fromEntries(parts.map(({ type, json }) => [type, JSON.parse(json.toString())]))
}

for (const scenario of scenarios) {
  test(`the events of ${scenario} are those that schemas/samples shows`, () => {
    const file = path.join(SAMPLES, `${scenario}.json`)
    const made = `${JSON.stringify(entries(scenario), null, 2)}\n`
    if (process.env.WRITE_SAMPLES) {
      mkdirSync(SAMPLES, { recursive: true })
      writeFileSync(file, made)
    }
    assert.ok(existsSync(file), `${file} is missing: npm run samples`)
    assert.equal(made, readFileSync(file, 'utf8'))
  })
}
