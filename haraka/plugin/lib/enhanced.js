'use strict'

// Enhanced status codes (RFC 3463) in replies as servers really write them: behind the reply code with a colon in place of the
// blank, in brackets, at the end, or within another server's reply that is quoted. Pure.

const CODE = String.raw`([245]\.\d{1,3}\.\d{1,3})(?!\d|\.\d)` // no part of an IP address or a longer number
const WHOLE = /^[245]\.\d{1,3}\.\d{1,3}$/
/** At the head of the text it is one whatever its class; elsewhere only one of the reply's class. */
const HEAD = new RegExp(`^[\\s#(\\[<*-]{0,5}${CODE}`)
const ELSEWHERE = [
  `[(\\[]#?${CODE}`, // (#5.1.1), [5.1.1]
  `#${CODE}`,
  `(?<!\\d)[245]\\d\\d[ -]#?${CODE}`, // said: 550 5.1.1 no such user
  `\\b(?:dsn|status|code|error)[\\s:=]{1,3}#?${CODE}`,
  `\\s${CODE}[.)\\]]?$`, // User unknown 5.1.1
].map((pattern) => new RegExp(pattern, 'i'))
/** What stands so far behind was hardly meant as one. */
const MAX_LENGTH = 2000

/** Whether a value is an enhanced status code and nothing else. */
function isEnhanced(value) {
  return typeof value === 'string' && WHOLE.test(value)
}

/** The enhanced code in the text of a reply; `code`: the reply code, of which the class counts. Undefined where there is none. */
function enhancedIn(text, code) {
  const head = text.slice(0, MAX_LENGTH)
  const first = HEAD.exec(head)?.[1] ?? HEAD.exec(head.replace(/^[245]\d\d[ -]/, ''))?.[1]
  if (first) return first
  for (const pattern of ELSEWHERE) {
    const found = pattern.exec(head)?.[1]
    if (found?.[0] === code[0]) return found
  }
  return undefined
}

module.exports = { enhancedIn, isEnhanced }
