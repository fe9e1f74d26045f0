'use strict'

// Each property for a short while; for longer: `make fuzz`, or FUZZ_SECONDS. What is found is printed with a seed and a path:
// FUZZ_SEED=… FUZZ_PATH=… node --test test/fuzz.test.js tries it again.

const { describe, test } = require('node:test')

const fc = require('fast-check')

const TARGETS = ['spool_records', 'hook_arguments', 'settings']
const { FUZZ_SECONDS = '4', FUZZ_SEED = '1', FUZZ_PATH } = process.env

for (const target of TARGETS) {
  describe(target, () => {
    const { properties } = require(`./fuzz/${target}`)
    const ms = (Number(FUZZ_SECONDS) * 1000) / Object.keys(properties).length
    for (const [name, property] of Object.entries(properties)) {
      test(name, (t) => {
        let runs = 0
        const counted = property.beforeEach(() => runs++)
        const parameters = {
          seed: Number(FUZZ_SEED),
          numRuns: Number.MAX_SAFE_INTEGER,
          interruptAfterTimeLimit: ms,
        }
        fc.assert(counted, FUZZ_PATH ? { ...parameters, path: FUZZ_PATH } : parameters)
        t.diagnostic(`${runs} executions`)
      })
    }
  })
}
