'use strict'

// What a deferral or a bounce says of one recipient: pure reading of the marks that Haraka left on its objects.
//
// Haraka keeps the same recipient objects over all attempts and never cleans them, so a reply of an earlier attempt can
// still be there when a later one fails for another reason. `err` decides which marks are of this attempt.

const WRAPPED = /^Too many failures \((.*)\)$/s
const REPLY = /^(?:Upstream error: )?[2-5]\d\d /
// Haraka's pattern knows one digit per part; 5.7.511 stays at the head of the text.
const ENHANCED = /^#?([245]\.\d{1,3}\.\d{1,3})(?=\s|$)/

/** The attempt's own error, without the words that the last retry puts around it. */
function cause(text) {
  return WRAPPED.exec(text)?.[1] ?? text
}

/** Whether an attempt was spent before Haraka raised this bounce, so that num_failures counts it already. */
function isCounted(text) {
  return text.startsWith('Too many failures (') || text.startsWith('Error re-queueing email')
}

function joined(...parts) {
  return parts.filter((part) => part !== undefined && part !== null && part !== '').join(' ')
}

function reply(rcpt) {
  return joined(rcpt.dsn_smtp_code, rcpt.dsn_smtp_extc, rcpt.dsn_smtp_response)
}

/** Haraka's own words on the recipient, if they begin as the error does: otherwise an earlier attempt left them. */
function verdict(rcpt, text) {
  const words = rcpt.dsn_msg
  return typeof words === 'string' && words !== '' && words.slice(0, 10) === text.slice(0, 10) ? words : ''
}

function inClass(status, digit) {
  return /^[245]\.\d{1,3}\.\d{1,3}$/.test(status) ? `${digit}${status.slice(1)}` : `${digit}.0.0`
}

function statusOfReply(rcpt, digit) {
  return inClass(String(rcpt.dsn_status ?? ENHANCED.exec(rcpt.dsn_smtp_response ?? '')?.[1]), digit)
}

/**
 * {status, message, reason} of a recipient; `digit` is the class of the event: '4' deferred, '5' bounced.
 * `named`: the recipient stands in a list of failed ones, so its own marks are of this attempt.
 */
function describe(rcpt, named, error, digit) {
  const text = cause(error)
  if (named || REPLY.test(text)) {
    const message = (named && rcpt.reason) || reply(rcpt) || error
    return { status: statusOfReply(rcpt, digit), message, reason: named ? rcpt.reason : undefined }
  }
  const words = verdict(rcpt, text)
  if (words === '') return { status: `${digit}.0.0`, message: error, reason: undefined }
  // Haraka invents this code, and hands 550 with deferrals too: like the status it gets the class of the event.
  const code = rcpt.dsn_code ? `${digit}${String(rcpt.dsn_code).slice(1)}` : ''
  return { status: inClass(String(rcpt.dsn_status), digit), message: joined(code, words), reason: undefined }
}

module.exports = { describe, isCounted }
