'use strict'

// Takes mail for anybody from anybody: the demo listens on 127.0.0.1 only.

exports.hook_connect = function (next, connection) {
  connection.relaying = true
  next()
}

exports.hook_rcpt = function (next) {
  next(OK)
}
