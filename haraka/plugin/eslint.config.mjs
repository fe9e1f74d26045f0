import haraka from '@haraka/eslint-config'

export default [...haraka, { files: ['**/*.js'], languageOptions: { sourceType: 'commonjs' } }]
