throw new TypeError('half a schema')
