// The bytes of a bcryptprimitives.dll that exports ProcessPrng: Wine 8 has no such library, and Bun's .exe asks for it.
// The export is a forwarder to advapi32's SystemFunction036 (RtlGenRandom), so the file holds no machine code and
// needs no compiler. Layout after Microsoft's "PE Format", sections "Optional Header" and "The .edata Section".

const SECTION_RVA = 0x1000;
const FILE_ALIGNMENT = 0x200;
const DLL_NAME = "bcryptprimitives.dll";
const EXPORTS: readonly (readonly [name: string, forwardedTo: string])[] = [
  ["ProcessPrng", "ADVAPI32.SystemFunction036"],
];

/** The .edata section: directory (40 bytes), address, name-pointer and ordinal tables, then the strings. */
function exportSection(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FILE_ALIGNMENT);
  const view = new DataView(bytes.buffer);
  const count = EXPORTS.length;
  const addresses = 40;
  const names = addresses + 4 * count;
  const ordinals = names + 4 * count;
  let end = ordinals + 2 * count;
  const put = (text: string): number => {
    const at = end;
    end += new TextEncoder().encodeInto(`${text}\0`, bytes.subarray(at)).written;
    return SECTION_RVA + at;
  };
  view.setUint32(12, put(DLL_NAME), true);
  view.setUint32(16, 1, true); // ordinal base
  view.setUint32(20, count, true);
  view.setUint32(24, count, true);
  view.setUint32(28, SECTION_RVA + addresses, true);
  view.setUint32(32, SECTION_RVA + names, true);
  view.setUint32(36, SECTION_RVA + ordinals, true);
  for (const [index, [name, forwardedTo]] of EXPORTS.entries()) {
    // An address inside the export directory's own range is read as a forwarder string.
    view.setUint32(addresses + 4 * index, put(forwardedTo), true);
    view.setUint32(names + 4 * index, put(name), true);
    view.setUint16(ordinals + 2 * index, index, true);
  }
  return bytes;
}

/** A whole PE32+ image of 1 KiB: headers, then the one section. */
export function prngDll(): Uint8Array {
  const section = exportSection();
  const image = new Uint8Array(FILE_ALIGNMENT + section.length);
  const view = new DataView(image.buffer);
  const ascii = (at: number, text: string) => new TextEncoder().encodeInto(text, image.subarray(at));

  ascii(0, "MZ");
  view.setUint32(0x3c, 0x40, true);
  const pe = 0x40;
  ascii(pe, "PE\0\0");
  view.setUint16(pe + 4, 0x8664, true); // x86-64
  view.setUint16(pe + 6, 1, true); // sections
  view.setUint16(pe + 20, 240, true); // size of the optional header
  view.setUint16(pe + 22, 0x2022, true); // executable image, large addresses, DLL

  const optional = pe + 24;
  view.setUint16(optional, 0x20b, true); // PE32+
  view.setBigUint64(optional + 24, 0x1_8000_0000n, true); // image base
  view.setUint32(optional + 32, 0x1000, true); // section alignment
  view.setUint32(optional + 36, FILE_ALIGNMENT, true);
  view.setUint16(optional + 40, 6, true); // operating system version
  view.setUint16(optional + 48, 6, true); // subsystem version
  view.setUint32(optional + 56, SECTION_RVA + 0x1000, true); // size of the image
  view.setUint32(optional + 60, FILE_ALIGNMENT, true); // size of the headers
  view.setUint16(optional + 68, 3, true); // console
  view.setUint16(optional + 70, 0x100, true); // NX compatible
  view.setUint32(optional + 108, 16, true); // data directories
  view.setUint32(optional + 112, SECTION_RVA, true); // the first of them: exports
  view.setUint32(optional + 116, section.length, true);

  const header = optional + 240;
  ascii(header, ".edata");
  view.setUint32(header + 8, section.length, true);
  view.setUint32(header + 12, SECTION_RVA, true);
  view.setUint32(header + 16, section.length, true);
  view.setUint32(header + 20, FILE_ALIGNMENT, true);
  view.setUint32(header + 36, 0x40000040, true); // readable, initialised data
  image.set(section, FILE_ALIGNMENT);
  return image;
}
