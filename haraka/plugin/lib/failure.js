'use strict'

// What a deferral or a bounce says of one recipient: pure reading of the marks that Haraka left on its objects.
//
// Haraka keeps the same recipient objects over all attempts and never cleans them, so a reply of an earlier attempt can
// still be there when a later one fails for another reason. `err` decides which marks are of this attempt.

const { enhancedIn, isEnhanced } = require('./enhanced')
const { textOf } = require('./text')

const WRAPPED = /^Too many failures \((.*)\)$/s
const REPLY = /^(?:Upstream error: )?[2-5]\d\d /
/** Haraka's words on some of the recipients, and the list of all these, which is not for the rows of each. */
const SOME_FAILED = /(Some recipients (?:temp )?failed): <[^]*?(?=\)?$)/

/** The attempt's own error, without the words that the last retry puts around it. */
function cause(text) {
  return WRAPPED.exec(text)?.[1] ?? text
}

/** Haraka's error as it may be shown to anybody. */
function shown(error) {
  return textOf(error).replace(SOME_FAILED, '$1')
}

/** Whether an attempt failed for some recipients by what each was answered. */
function isOfRecipients(error) {
  return cause(error).startsWith('Some recipients ')
}

/** Whether an attempt was spent before Haraka raised this bounce, so that num_failures counts it already. */
function isCounted(text) {
  return text.startsWith('Too many failures (') || text.startsWith('Error re-queueing email')
}

function joined(...parts) {
  return parts
    .map(textOf)
    .filter((part) => part !== '')
    .join(' ')
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
  return isEnhanced(status) ? `${digit}${status.slice(1)}` : `${digit}.0.0`
}

/** Haraka's pattern knows one digit per part and a blank behind it; a code of another shape stays in the text. */
function statusOfReply(rcpt, text, digit) {
  if (isEnhanced(rcpt.dsn_status)) return inClass(rcpt.dsn_status, digit)
  return inClass(
    enhancedIn(textOf(rcpt.dsn_smtp_response ?? text), textOf(rcpt.dsn_smtp_code ?? digit)),
    digit,
  )
}

/**
 * {status, message} of a recipient; `digit` is the class of the event: '4' deferred, '5' bounced; error: see `shown`.
 * `named`: its own marks are of this attempt. What bounces since its retries are used up says so: its last reply alone would
 * look like a refusal.
 */
function describe(rcpt, named, error, digit) {
  const text = cause(error)
  const { status, message } = ofAttempt(rcpt, named, text, digit)
  return { status, message: text === error || message === '' ? message : `Too many failures (${message})` }
}

function ofAttempt(rcpt, named, text, digit) {
  if (named || REPLY.test(text)) {
    const message = (named && rcpt.reason) || reply(rcpt) || text
    return { status: statusOfReply(rcpt, message, digit), message }
  }
  const words = verdict(rcpt, text)
  if (words === '') return { status: `${digit}.0.0`, message: text }
  // Haraka invents this code, and hands 550 with deferrals too: like the status it gets the class of the event.
  const code = rcpt.dsn_code ? `${digit}${textOf(rcpt.dsn_code).slice(1)}` : ''
  return { status: inClass(rcpt.dsn_status, digit), message: joined(code, words) }
}

module.exports = { describe, isCounted, isOfRecipients, shown }
