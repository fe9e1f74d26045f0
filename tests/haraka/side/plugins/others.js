'use strict'

// Another plugin with hooks of the same kind, at several priorities. The sender's address says what one of them does, as in
// `bounce_-100_slow_OK_before.7@sender.test`: hook, priority, speed, answer, and which of two such plugins. All others call
// next(). What each of them saw is appended to hooks.ndjson.

const { appendFileSync } = require('node:fs')
const path = require('node:path')

const PRIORITIES = [-100, -50, 0, 50, 100]
const SLOW_MS = 30
const ANSWERS = { CONT: [], OK: [OK], DENY: [DENY, 'no'], DENYSOFT: [DENYSOFT, '6'] }
const LOG = path.join(process.env.HARAKA, 'hooks.ndjson')

exports.register = function () {
  for (const hook of ['delivered', 'deferred', 'bounce']) {
    for (const priority of PRIORITIES) {
      const method = `${hook} ${priority}`
      this[method] = (next, hmail, params) => this.seen({ hook, priority }, next, hmail, params)
      this.register_hook(hook, method, priority)
    }
  }
  this.register_hook('deny', 'denied')
}

exports.seen = function ({ hook, priority }, next, hmail, params) {
  this.note({ hook, priority, hmail, params })
  const [ofHook, ofPriority, speed, answer, place] = script(hmail)
  const isMeant = ofHook === hook && Number(ofPriority) === priority && this.name === `others_${place}`
  const go_on = () => next(...(isMeant ? ANSWERS[answer] : []))
  if (isMeant && speed === 'slow') setTimeout(go_on, SLOW_MS)
  else go_on()
}

// A plugin that overrules those which refuse.
exports.denied = function (next, hmail) {
  const overruled = this.name === 'others_after' && hmail.todo && script(hmail)[5] === 'overruled'
  next(...(overruled ? [OK] : []))
}

exports.note = function ({ hook, priority, hmail, params }) {
  const rcpts = (list) => (list ?? []).map((rcpt) => rcpt.original).sort()
  const said = {
    delivered: () => [params[2], rcpts(params[6])],
    deferred: () => [String(params.err), params.delay],
    bounce: () => [params.message, rcpts(params.bounced_rcpt)],
  }[hook]()
  const line = [this.name, hook, priority, hmail.todo.mail_from.original, rcpts(hmail.todo.rcpt_to), said]
  appendFileSync(LOG, `${JSON.stringify(line)}\n`)
}

function script(hmail) {
  return (hmail.todo?.mail_from.user ?? '').split('.')[0].split('_')
}
