'use strict'

// Sends all mail to the sink; demo_route.ini may give a domain a port or a source address of its own.

exports.hook_get_mx = function (next, hmail, domain) {
  const { main, port, bind } = this.config.get('demo_route.ini')
  next(OK, {
    exchange: main.exchange,
    priority: 0,
    port: port?.[domain] ?? main.port,
    bind: bind?.[domain],
  })
}
