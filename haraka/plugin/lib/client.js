'use strict'

// The Redis client library, of the one major version whose behaviour this plugin knows (README: "Why node-redis 5"). Where npm
// has only linked this folder, Node would look for it above the checkout, or take the one that Haraka has for itself.

const { readFileSync } = require('node:fs')
const path = require('node:path')

const NAME = '@redis/client'
const MAJOR = '5'
const PLUGIN = path.join(__dirname, '..')

/** {version, dir} of the library that Node would load, undefined where there is none. */
function found() {
  let dir
  try {
    dir = path.dirname(require.resolve(NAME))
  } catch {
    return undefined
  }
  for (; dir !== path.dirname(dir); dir = path.dirname(dir)) {
    const { name, version } = manifest(dir)
    if (name === NAME) return { version, dir }
  }
  return undefined
}

function manifest(dir) {
  try {
    return JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8'))
  } catch {
    return {}
  }
}

/** What is wrong with the library that Node would load, undefined where nothing is. */
function problem() {
  const { version, dir } = found() ?? {}
  if (version?.split('.')[0] === MAJOR) return undefined
  const there = version ? `${version} in ${dir}` : 'there is none'
  return `${NAME} ${MAJOR} is needed, ${there}: run \`npm ci --omit=dev\` in ${PLUGIN}, then start Haraka again`
}

/** The library, or an error that says what to do. */
function load() {
  const wrong = problem()
  if (wrong) throw new Error(`accounting-stream: ${wrong}`)
  return require(NAME)
}

module.exports = { load, problem }
