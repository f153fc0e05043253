const api = SwaggerUIBundle({
  url: '../v1/openapi.json',
  dom_id: '#api',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
  // Whoever signs in here need not copy the token.
  responseInterceptor(response) {
    if (response.ok && /\/v1\/auth\/(register|login|refresh)$/.test(response.url)) {
      api.preauthorizeApiKey('accessToken', JSON.parse(response.text).accessToken)
    }
    return response
  },
})
