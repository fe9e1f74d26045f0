'use strict'

// What the benchmarks share: the plugin as Haraka loads it, a hook call of a usual delivery, figures.

const { mkdtempSync, mkdirSync, rmSync, writeFileSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const config = require('haraka-config')
const constants = require('haraka-constants')

/** The plugin as Haraka loads it, from a folder, in a Haraka directory of its own, publishing to `port`; started as in a single process. */
function loadPlugin(port, { ini = '', folder = path.join(__dirname, '..') } = {}) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-bench-'))
  mkdirSync(path.join(dir, 'config'))
  writeFileSync(path.join(dir, 'config', 'accounting_stream.ini'), `${ini}\n[redis]\nport=${port}\n`)
  process.env.HARAKA = dir
  constants.import(global)
  const hooks = {}
  global.server = { notes: {}, plugins: { registered_hooks: hooks } }
  const plugin = Object.assign({}, require(path.join(folder, 'index.js')), {
    name: 'accounting-stream',
    config: config.module_config(folder, dir),
    register_hook: (hook, method) => (hooks[hook] ??= []).push({ plugin: 'accounting-stream', method }),
  })
  for (const level of ['debug', 'info', 'warn', 'error']) {
    plugin[`log${level}`] = (line) => level === 'error' && console.error(line)
  }
  plugin.register()
  plugin.start_accounting(() => {})
  return { plugin, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/** A queue item, as far as hooks have to do with it. */
class Item {
  num_failures = 0
  bounce_error = null

  /** done: called when Haraka would remove the queue file. */
  constructor(read, done) {
    this.notes = read.notes
    this.todo = read
    this.done = done
  }

  delivered_respond() {
    this.done()
  }
  deferred_respond() {}
  bounce_respond() {}
}

/** As Haraka has it after it read the queue file: every text a flat string of its own. */
function todo(i) {
  const address = (text) => {
    const [user, host] = text.split('@')
    return { original: `<${text}>`, original_host: host, host, user }
  }
  const text = JSON.stringify({
    queue_time: Date.now() - 1000 - (i % 1000),
    domain: 'example.com',
    uuid: `9477D19A-46D2-4C56-8C5A-${String(i).padStart(12, '0')}.1.1`,
    mail_from: address('bounces@sender.example'),
    rcpt_to: [address(`recipient.${i}@example.com`)],
    notes: { accounting_stream: { helo: 'client.sender.example', custom: { 'x-campaign': 'spring-sale' } } },
  })
  return JSON.parse(text)
}

/** Arguments of a `delivered` hook call; every message is another. done: see Item. */
function delivery(i, done) {
  const read = todo(i)
  const hmail = new Item(read, done)
  const response = ['Ok: queued as', `4F${i}A7`].join(' ')
  const params = ['mx1.example.com', '192.0.2.25', response, 1.1, 25, 'SMTP', read.rcpt_to, true, false]
  // As Haraka does after its last hook.
  const next = () => hmail.delivered_respond(CONT)
  return [next, hmail, params]
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]
}

/** Median and 99th percentile of nanoseconds, as text in µs. */
function figures(nanoseconds) {
  const sorted = Float64Array.from(nanoseconds).sort()
  const us = (q) => (quantile(sorted, q) / 1000).toFixed(1).padStart(7)
  return `median ${us(0.5)} us   p99 ${us(0.99)} us   max ${us(1)} us`
}

module.exports = { loadPlugin, delivery, figures }
