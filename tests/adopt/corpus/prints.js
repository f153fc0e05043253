import { appSchema, tableSchema } from '@nozbe/watermelondb'

console.log('{"schema": "not this"}')
process.stdout.write('nor this\n')
// Neither of them is waited for.
setInterval(() => {}, 1000)
require('net').createServer().listen(0)
Promise.reject(new Error('nobody hears of it'))

export const schema = appSchema({ version: 1, tables: [tableSchema({ name: 'logs', columns: [{ name: 'line', type: 'string' }] })] })
