'use strict'

// Ini files and what workers want: settings in their ranges, problems of one line each, header names that are some.

const assert = require('node:assert/strict')

const fc = require('fast-check')

const { names } = require('../../lib/headers')
const { parse } = require('../../lib/redis_ini')
const { MAIN, REDIS, read } = require('../../lib/settings')
const { printable } = require('../../lib/log_line')

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', '1e3', '-1', ' ', 'true'),
)
const section = (fields) =>
  fc.dictionary(
    fc.oneof(fc.constantFrom(...Object.keys(fields)), text),
    fc.oneof(text, fc.boolean(), fc.integer(), fc.array(text)),
  )
const ini = fc
  .tuple(section(MAIN), section(REDIS), fc.dictionary(text, section(MAIN)))
  .map(([main, redis, others]) => ({ ...others, main, redis }))
const lines = fc
  .array(
    fc.oneof(text, fc.constantFrom('[server]', '[opts]', '[__proto__]', 'host = a', 'a=', '= ', '[', ';x')),
  )
  .map((list) => list.join('\n'))

const properties = {
  'any ini gives settings, and problems of a bounded line each': fc.property(ini, lines, (own, harakas) => {
    const { settings, problems } = read(own, parse(harakas), 'mx1')
    assert.deepEqual(Object.keys(settings).sort(), [...Object.keys(MAIN), 'redis'].sort())
    assert.deepEqual(Object.keys(settings.redis).sort(), Object.keys(REDIS).sort())
    assert.ok(settings.partitions >= 1 && settings.spool_max_mb >= 1 && settings.spool_after_ms >= 1)
    assert.ok(/^[^{}\s]{1,190}$/.test(settings.key))
    for (const problem of problems) assert.equal(printable(problem, 500), problem)
    assert.equal({}.node, undefined)
  }),
  'any list gives names of headers alone': fc.property(fc.array(fc.oneof(text, fc.anything())), (list) => {
    for (const name of names(list)) assert.ok(/^[!-9;-~]{1,200}$/.test(name) && !(name in {}))
  }),
}

module.exports = { properties }
