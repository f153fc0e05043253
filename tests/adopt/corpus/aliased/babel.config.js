module.exports = (api) => {
  api.cache(true)
  return {
    presets: ['module:metro-react-native-babel-preset'],
    plugins: [
      'react-native-reanimated/plugin',
      ['babel-plugin-module-resolver', { root: ['./app'], alias: { '@app': './app', '^~(.+)': './app/\\1' } }],
    ],
  }
}
