'use strict'

// A line of Haraka's log: what servers, files and operators wrote is in it, and must neither begin another line, nor act on the
// terminal of who reads it, nor fill the log.

const MAX_LENGTH = 2000
// What cannot be seen: controls, formats (as those that turn the direction of writing), separators of lines, halves of pairs.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u3164\uffa0]/gu

function escaped(char) {
  const code = char.codePointAt(0)
  if (code > 0xffff) return `\\u{${code.toString(16)}}`
  return code > 0xff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\x${code.toString(16).padStart(2, '0')}`
}

/** A value as one line of so many characters at most, with escapes in the place of what cannot be seen. */
function printable(value, length) {
  const shown = String(value)
    .slice(0, length + 1)
    .replace(UNSEEN, escaped)
  return shown.length > length ? `${shown.slice(0, length - 1).toWellFormed()}\u2026` : shown
}

/** The text as a line of the log. */
function logLine(text) {
  return printable(text, MAX_LENGTH)
}

/** The same log, all lines of which are such. */
function logOf(plugin) {
  return {
    debug: (text) => plugin.logdebug(logLine(text)),
    info: (text) => plugin.loginfo(logLine(text)),
    warn: (text) => plugin.logwarn(logLine(text)),
    error: (text) => plugin.logerror(logLine(text)),
  }
}

module.exports = { MAX_LENGTH, logLine, logOf, printable }
