throw new Error('tests are no models')
