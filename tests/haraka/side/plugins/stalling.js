'use strict'

// Another plugin that keeps the event loop of Haraka to itself, again and again for longer than an answer may wait.

const { performance } = require('node:perf_hooks') // no global in Haraka's plugins

const EVERY = 40
const MS = 700

let calls = 0

exports.hook_delivered = function (next) {
  if (++calls % EVERY === 0) {
    const end = performance.now() + MS
    while (performance.now() < end);
  }
  next()
}
