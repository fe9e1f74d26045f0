'use strict'

// What an operator has who wants no bounce messages, without accounting: after all others, OK.

exports.register = function () {
  this.register_hook('bounce', 'stop', 100)
}

exports.stop = function (next) {
  next(OK)
}
