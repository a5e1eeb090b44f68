// A picture for every product, drawn from its name: the data set has none.

import type { ComponentChildren } from "preact";

type Glyph = () => ComponentChildren;

// Each fills a square of 100 by 100 around its middle. `m` is the main colour, `s` a second one, `l` a light one.
const heart: Glyph = () => (
  <>
    <path class="m" d="M50 82C24 63 14 49 14 35a18 18 0 0 1 36-5 18 18 0 0 1 36 5c0 14-10 28-36 47Z" />
    <path class="l-line" d="M27 36a8 8 0 0 1 8-8" />
  </>
);
const bag: Glyph = () => (
  <>
    <path class="s-line" d="M36 42V30a14 14 0 0 1 28 0v12" />
    <path class="m" d="M20 38h60l5 44a5 5 0 0 1-5 5H20a5 5 0 0 1-5-5Z" />
    <circle class="l" cx="50" cy="60" r="9" />
  </>
);
const umbrella: Glyph = () => (
  <>
    <path class="s-line" d="M50 18v58a8 8 0 0 1-16 0" />
    <path class="m" d="M12 54a38 36 0 0 1 76 0c-6-7-13-7-19 0-6-7-13-7-19 0-6-7-13-7-19 0-6-7-13-7-19 0Z" />
  </>
);
const candle: Glyph = () => (
  <>
    <path class="s" d="M50 12c9 11 11 17 11 21a11 11 0 0 1-22 0c0-4 2-10 11-21Z" />
    <rect class="m" x="34" y="48" width="32" height="34" rx="4" />
    <path class="l" d="M34 56c5 6 9-3 14 3s10-2 18-1v-6a4 4 0 0 0-4-4H38a4 4 0 0 0-4 4Z" />
    <rect class="s" x="22" y="80" width="56" height="8" rx="4" />
  </>
);
const bauble: Glyph = () => (
  <>
    <rect class="s" x="43" y="14" width="14" height="12" rx="3" />
    <circle class="m" cx="50" cy="56" r="32" />
    <path class="l" d="M19 50l10 8 10-8 11 8 11-8 10 8 10-8a32 32 0 0 1 0 14H19a32 32 0 0 1 0-14Z" />
  </>
);
const tree: Glyph = () => (
  <>
    <rect class="s" x="44" y="74" width="12" height="14" rx="2" />
    <path class="m" d="M50 12 70 38H61L77 58H66L82 78H18L34 58H23L39 38H30Z" />
    <circle class="l" cx="46" cy="44" r="4" /><circle class="l" cx="58" cy="56" r="4" /><circle class="l" cx="42" cy="67" r="4" />
  </>
);
const flower: Glyph = () => (
  <>
    <path class="s-line" d="M50 50v38M50 76c10 0 16-5 18-12M50 82c-10 0-16-5-18-12" />
    {[0, 60, 120, 180, 240, 300].map((turn) => (
      <ellipse class="m" cx="50" cy="20" rx="10" ry="14" transform={`rotate(${turn} 50 36)`} />
    ))}
    <circle class="l" cx="50" cy="36" r="9" />
  </>
);
const house: Glyph = () => (
  <>
    <rect class="s" x="66" y="20" width="9" height="20" />
    <path class="m" d="M50 14 88 47H79V84H21V47H12Z" />
    <path class="l" d="M43 84V64a7 7 0 0 1 14 0v20Z" />
    <circle class="l" cx="50" cy="42" r="6" />
  </>
);
const ring: Glyph = () => (
  <>
    <circle class="m-line wide" cx="50" cy="62" r="25" />
    <path class="s" d="M36 18h28l9 11-23 20-23-20Z" />
    <path class="l" d="M36 18h28l-4 11H40Z" />
  </>
);
const mug: Glyph = () => (
  <>
    <path class="s-line" d="M66 44h8a13 13 0 0 1 0 26h-8" />
    <path class="m" d="M20 36h48v36a14 14 0 0 1-14 14H34a14 14 0 0 1-14-14Z" />
    <path class="l-line" d="M34 28c-5-6 5-8 0-14M50 28c-5-6 5-8 0-14" />
    <path class="l" d="M20 50h48v9H20Z" />
  </>
);
const cake: Glyph = () => (
  <>
    <path class="s-line" d="M50 20v14" /><circle class="s" cx="50" cy="16" r="5" />
    <path class="l" d="M24 48a12 12 0 0 1 12-13h28a12 12 0 0 1 12 13Z" />
    <path class="m" d="M16 52a6 6 0 0 1 6-6h56a6 6 0 0 1 6 6v30H16Z" />
    <path class="l" d="M16 54c7 12 14 0 17 6s11 6 14-1 11 9 16 1 12 6 21-4v-4a6 6 0 0 0-6-6H22a6 6 0 0 0-6 6Z" />
  </>
);
const plate: Glyph = () => (
  <>
    <circle class="m" cx="50" cy="50" r="36" /><circle class="l" cx="50" cy="50" r="25" /><circle class="s" cx="50" cy="50" r="14" />
  </>
);
const letter: Glyph = () => (
  <>
    <rect class="m" x="14" y="26" width="72" height="52" rx="5" />
    <path class="l-line" d="M17 31 50 57 83 31" />
    <circle class="s" cx="50" cy="58" r="9" />
  </>
);
const book: Glyph = () => (
  <>
    <rect class="m" x="24" y="14" width="54" height="72" rx="5" /><rect class="s" x="24" y="14" width="11" height="72" rx="4" />
    <rect class="l" x="44" y="28" width="25" height="15" rx="2" />
  </>
);
const bunting: Glyph = () => (
  <>
    <path class="s-line" d="M8 26c28 16 56 16 84 0" />
    <path class="m" d="M14 31l20 7-14 24Z" /><path class="l" d="M39 39h22L50 66Z" /><path class="m" d="M66 38l20-7-6 31Z" />
    <circle class="s" cx="30" cy="78" r="4" /><circle class="m" cx="52" cy="82" r="4" /><circle class="l" cx="73" cy="76" r="4" />
  </>
);
const bear: Glyph = () => (
  <>
    <circle class="s" cx="27" cy="30" r="13" /><circle class="s" cx="73" cy="30" r="13" />
    <circle class="m" cx="50" cy="52" r="34" /><ellipse class="l" cx="50" cy="63" rx="15" ry="12" />
    <circle class="d" cx="38" cy="46" r="4" /><circle class="d" cx="62" cy="46" r="4" /><ellipse class="d" cx="50" cy="59" rx="5" ry="4" />
  </>
);
const clockGlyph: Glyph = () => (
  <>
    <circle class="m" cx="50" cy="52" r="34" /><circle class="l" cx="50" cy="52" r="25" />
    <path class="s-line" d="M50 36v16l11 8" /><path class="s" d="M44 10h12v8H44Z" />
  </>
);
const bird: Glyph = () => (
  <>
    <path class="s" d="M78 40l14 5-14 6Z" />
    <path class="m" d="M14 40c14 3 22 4 30-2 3-13 12-18 20-18a17 17 0 0 1 17 17c0 24-17 39-39 39-14 0-26-10-28-36Z" />
    <path class="l" d="M32 50c12 0 20 3 26-6 2 15-14 25-26 6Z" /><circle class="d" cx="68" cy="35" r="3.500" />
    <path class="s-line thin" d="M46 75v12M56 72v13" />
  </>
);
const star: Glyph = () => (
  <>
    <path class="m" d="m50 10 12 27 29 3-22 20 6 29-25-15-25 15 6-29L9 40l29-3Z" /><circle class="l" cx="50" cy="53" r="9" />
  </>
);
const bottle: Glyph = () => (
  <>
    <rect class="s" x="42" y="10" width="16" height="14" rx="3" />
    <path class="m" d="M42 22h16v12c10 4 15 12 15 22v24a7 7 0 0 1-7 7H34a7 7 0 0 1-7-7V56c0-10 5-18 15-22Z" />
    <rect class="l" x="27" y="56" width="46" height="18" />
  </>
);
const box: Glyph = () => (
  <>
    <rect class="m" x="18" y="42" width="64" height="44" rx="4" /><rect class="s" x="13" y="30" width="74" height="16" rx="4" />
    <rect class="l" x="44" y="30" width="12" height="56" />
    <path class="l-line" d="M50 30c-8-18-26-14-22-4 3 6 14 4 22 4 8 0 19 2 22-4 4-10-14-14-22 4Z" />
  </>
);

/** What a word in the name shows; the first that occurs. */
const WORDS: [RegExp, Glyph][] = [
  [/UMBRELLA|PARASOL/, umbrella],
  [/CLOCK|WATCH/, clockGlyph],
  [/CAKE|CUPCAKE|BAKING|MUFFIN|JELLY/, cake],
  [/MUG|CUP\b|CUPS|TEA\b|TEAPOT|COFFEE/, mug],
  [/PLATE|BOWL|DISH|TRAY|SAUCER|COASTER/, plate],
  [/BOTTLE|JAR\b|VASE|JUG|TIN\b|TINS|SOAP/, bottle],
  [/BAG|SHOPPER|TOTE|BASKET|PURSE|CASE/, bag],
  [/CHRISTMAS|XMAS|BAUBLE|NOEL|SNOW/, bauble],
  [/HEART|LOVE/, heart],
  [/CANDLE|LIGHT|LANTERN|LAMP|HOLDER/, candle],
  [/BUNTING|PARTY|BALLOON|GARLAND|STREAMER/, bunting],
  [/BIRD|OWL|HEN\b|CHICK|ROBIN|DOVE|DUCK|COCKEREL/, bird],
  [/TREE|REINDEER/, tree],
  [/STAR/, star],
  [/FLOWER|ROSE|DAISY|LILY|GARDEN|POPPY|LAVENDER/, flower],
  [/RING|NECKLACE|BRACELET|EARRING|DIAMANTE|BEAD/, ring],
  [/BOOK|NOTEBOOK|DIARY|ALBUM|JOURNAL/, book],
  [/CARD|WRAP|ENVELOPE|LETTER|STICKER|POSTCARD|PAPER/, letter],
  [/TEDDY|BEAR|RABBIT|BUNNY|DOG|CAT\b|TOY|DOLL|ELEPHANT|MONKEY/, bear],
  [/BOX|GIFT|SET\b|DRAWER/, box],
  [/HOUSE|HOME|FRAME|DOOR|SIGN\b|CABINET/, house],
];

/** What anything else may be. */
const OTHERS: Glyph[] = [box, star, flower];

/** Hues of the colours that names speak of. */
const COLOURS: [RegExp, number][] = [
  [/\bRED\b|STRAWBERRY|CHERRY|POPPY/, 25],
  [/\bPINK\b|ROSE|LOVE/, 358],
  [/ORANGE|COPPER|RETROSPOT|TERRACOTTA/, 50],
  [/CHOCOLATE|BROWN|WOOD|WICKER|NATURAL/, 65],
  [/YELLOW|GOLD|IVORY|CREAM|LEMON|BEE\b|SUN/, 90],
  [/GREEN|OLIVE|GARDEN|LEAF|APPLE|CHRISTMAS|TREE/, 150],
  [/TURQUOISE|AQUA|MINT|TEAL|SEA\b/, 195],
  [/BLUE|DENIM|SKY\b|PILOT/, 245],
  [/PURPLE|LILAC|LAVENDER|AMETHYST|VIOLET|FAIRY/, 305],
];

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const letter of text) value = Math.imul(value ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  return value;
}

function backdrop(kind: number, id: string): ComponentChildren {
  const shapes = [
    <circle class="p" cx="6" cy="6" r="1.800" />,
    <path class="p-line" d="M-4.500 4.500 4.500-4.500M0 18 18 0M13.500 22.500 22.500 13.500" />,
    <path class="p-line" d="M-9 9q4.500 6 9 0t9 0 9 0 9 0" />,
    <path class="p-line" d="M9 5v8M5 9h8" />,
  ];
  return (
    <>
      <pattern id={id} width={kind === 0 ? 12 : 18} height={kind === 0 ? 12 : 18} patternUnits="userSpaceOnUse">
        {shapes[kind]}
      </pattern>
      <rect width="160" height="160" fill={`url(#${id})`} />
    </>
  );
}

interface ArtProps {
  id: string;
  name: string;
  class?: string;
  /** Without the backdrop, which is too much for a small one. */
  plain?: boolean;
}

let drawn = 0;

/** Decoration: the name stands beside it. */
export function Art({ id, name, class: extra = "", plain = false }: ArtProps) {
  const seed = hash(id + name);
  const text = name.toUpperCase();
  const glyph = WORDS.find(([word]) => word.test(text))?.[1] ?? OTHERS[seed % OTHERS.length] ?? box;
  // Colours that were not named are spread by the golden angle.
  const hue = COLOURS.find(([word]) => word.test(text))?.[1] ?? Math.round((seed % 1000) * 137.508) % 360;
  const turn = ((seed >>> 8) % 15) - 7;
  const place = plain ? "translate(20 20) scale(1.2)" : `rotate(${turn} 80 80) translate(42 42) scale(.76)`;
  return (
    <svg class={`art ${extra}`} viewBox="0 0 160 160" aria-hidden="true" style={{ "--h": String(hue) }}>
      <rect class="bg" width="160" height="160" />
      {!plain && backdrop((seed >>> 4) % 4, `p${(drawn += 1)}`)}
      {!plain && <circle class="halo" cx="80" cy="80" r="56" />}
      <g transform={place}>{glyph()}</g>
    </svg>
  );
}
