/** The back-end of vhost-user: devices of ours for hypervisors and drivers of others. */
export { VhostUserConnection } from './connection.ts'
export { protocolFeatures, type SessionOptions, vhostRingFeatures } from './options.ts'
export { VhostUserServer, type VhostUserServerOptions } from './server.ts'
