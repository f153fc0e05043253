import { appSchema, tableSchema } from '@nozbe/watermelondb'
import Config from 'react-native-config'

export const schema = appSchema({ version: 1, tables: [tableSchema({ name: `${Config.PREFIX}_logs`, columns: [] })] })
