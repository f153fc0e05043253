import LokiJSAdapter from '@nozbe/watermelondb/adapters/lokijs'

import { migrations, schema } from './schema'

export const adapter = new LokiJSAdapter({
  schema,
  migrations,
  dbName: 'tasks',
  useWebWorker: false,
  useIncrementalIndexedDB: true,
})
