/** The two ports by which PCs access configuration spaces: CONFIG_ADDRESS (0xCF8) and CONFIG_DATA (0xCFC). */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { pci_config_address, pci_config_ports_CONFIG_ADDRESS, pci_config_ports_CONFIG_DATA } from 'virtgen/wire/pci'

const { pci_config_enable, pci_config_bus, pci_config_device, pci_config_function, pci_config_function_shift, pci_config_register } =
  pci_config_address
const implemented = (pci_config_enable | pci_config_bus | pci_config_device | pci_config_function | pci_config_register) >>> 0
const registerBytes = 4

/** Configuration spaces by bus << 8 | device << 3 | function. */
export interface ConfigSpaces {
  readConfigOf(id: number, offset: number, width: number): number
  writeConfigOf(id: number, offset: number, width: number, value: number): void
}

export class ConfigPorts {
  readonly #spaces: ConfigSpaces
  #address = 0

  constructor(spaces: ConfigSpaces) {
    this.#spaces = spaces
  }

  /** What CONFIG_ADDRESS holds; its reserved bits are 0. */
  get address(): number {
    return this.#address
  }
  /** @throws RangeError for what is no number of 32 bits */
  set address(value: number) {
    this.#address = (checkInteger(value, 0, 0xffff_ffff, 'address') & implemented) >>> 0
  }

  /** Says whether an access is for these ports: a part of CONFIG_ADDRESS is a port of somebody else, and CONFIG_DATA is one while nothing is chosen. */
  covers(port: number, width: number): boolean {
    if (port === pci_config_ports_CONFIG_ADDRESS) return width === registerBytes
    const byte = port - pci_config_ports_CONFIG_DATA
    return byte >= 0 && byte + width <= registerBytes && (this.#address & pci_config_enable) !== 0
  }

  /** Of ports that it covers. */
  read(port: number, width: number): number {
    if (port === pci_config_ports_CONFIG_ADDRESS) return this.#address
    return this.#spaces.readConfigOf(this.#id, this.#offset(port), width)
  }

  write(port: number, width: number, value: number): void {
    if (port === pci_config_ports_CONFIG_ADDRESS) this.#address = (value & implemented) >>> 0
    else this.#spaces.writeConfigOf(this.#id, this.#offset(port), width, value)
  }

  get #id(): number {
    return (this.#address & (pci_config_bus | pci_config_device | pci_config_function)) >>> pci_config_function_shift
  }

  #offset(port: number): number {
    return (this.#address & pci_config_register) + port - pci_config_ports_CONFIG_DATA
  }
}
