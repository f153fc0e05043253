export * from './backend.js'
export type { components, operations, paths } from './api.js'
