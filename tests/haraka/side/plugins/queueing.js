'use strict'

// A plugin that changes envelopes in place, and queues mail by itself: by the first word of the sender.

const outbound = require('./outbound')

exports.hook_data_post = function (next, { transaction }) {
  const { mail_from, rcpt_to } = transaction
  if (mail_from.user === 'verp') {
    mail_from.user = 'bounces+verp=sender.test'
    mail_from.host = mail_from.original_host = 'verp.test'
    for (const rcpt of rcpt_to) rcpt.user = rcpt.user.replace('old', 'new')
  }
  next()
}

exports.hook_queue_outbound = function (next, { transaction }) {
  const { mail_from, rcpt_to, notes } = transaction
  const contents = 'X-Campaign: made\r\nFrom: <a@sender.test>\r\n\r\nmade by a plugin\r\n'
  const queued = (code, msg) => next(code, msg)
  if (mail_from.user === 'own') return outbound.send_trans_email(transaction, queued)
  if (mail_from.user === 'made') return outbound.send_email(mail_from, rcpt_to, contents, queued)
  if (mail_from.user === 'noted') return outbound.send_email(mail_from, rcpt_to, contents, queued, { notes })
  next()
}
