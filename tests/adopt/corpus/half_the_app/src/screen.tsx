import React, { useState } from 'react'
import AsyncStorage from '@react-native-async-storage/async-storage'
import { Dimensions, Platform, StyleSheet, View } from 'react-native'
import styled from 'styled-components/native'
import Icon from '../assets/icon.svg'
import { camera } from './native'

const { width } = Dimensions.get('window')
const [first, ...others] = AsyncStorage.keys()
export const styles = StyleSheet.create({ box: { width: width * 0.5, flex: Platform.select({ ios: 1, default: 2 }) } })
export const Box = styled(View).attrs({ first, others })`
  color: red;
`
export class Screen extends React.Component<{ title: string }> {
  state = { logo: require('../assets/logo.png'), camera }
  render() {
    return <Box><Icon /> {this.props.title}</Box>
  }
}
export const useTitle = () => useState('')
export const TABLE = 'pictures'
