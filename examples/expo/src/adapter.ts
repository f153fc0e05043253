import SQLiteAdapter from '@nozbe/watermelondb/adapters/sqlite'

import { migrations, schema } from './schema'

export const adapter = new SQLiteAdapter({ schema, migrations, dbName: 'tasks' })
