import { appSchema, tableSchema } from '@nozbe/watermelondb'
import SQLiteAdapter from '@nozbe/watermelondb/adapters/sqlite'
import { setGenerator } from '@nozbe/watermelondb/utils/common/randomId'
import 'react-native-get-random-values'
import { v4 } from 'uuid'
import { generated } from './generated/at-build-time'
import { string } from './src/flow'
import { Screen, TABLE, styles } from './src/screen'
import { useStore } from './src/store'

setGenerator(() => v4())
window.app = { Screen, styles, generated }

const schema = appSchema({
  version: 1,
  tables: [tableSchema({ name: TABLE, columns: [string('uri'), string('caption', { isOptional: true })] })],
})

export const adapter = new SQLiteAdapter({ schema, jsi: true, onSetUpError: (error) => console.error(error) })
