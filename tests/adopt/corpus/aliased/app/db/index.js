export { default as VERSION } from 'db/version.json'
