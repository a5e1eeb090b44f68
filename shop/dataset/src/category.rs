//! A product's category, guessed from the words of its name. The file has none; a guess is enough to browse by.

/// The category of everything that no word below claims.
const OTHERWISE: &str = "Home & Decoration";

/// Categories and their words. The first row with a word of the name wins, so that the occasion (Christmas, a party)
/// comes before the thing, and the narrow thing before the wide one. A plural in `S` matches as well.
const CATEGORIES: &[(&str, &[&str])] = &[
    ("Christmas", &["CHRISTMAS", "XMAS", "ADVENT", "SANTA", "REINDEER", "SNOWFLAKE", "SNOWMAN", "NATIVITY"]),
    ("Party", &["PARTY", "BUNTING", "BIRTHDAY", "BALLOON", "CONFETTI"]),
    ("Bags & Umbrellas", &["BAG", "LUGGAGE", "PURSE", "SHOPPER", "RUCKSACK", "UMBRELLA", "WALLET"]),
    (
        "Jewellery",
        &["NECKLACE", "BRACELET", "EARRING", "RING", "CHARM", "BROOCH", "DIAMANTE", "HAIR", "BANGLE"],
    ),
    (
        "Candles & Lights",
        &["CANDLE", "LIGHT", "TEALIGHT", "LANTERN", "LAMP", "INCENSE", "CANDLESTICK", "CANDLEPOT"],
    ),
    (
        "Toys & Children",
        &[
            "TOY",
            "DOLL",
            "DOLLY",
            "CHILD",
            "CHILDREN",
            "GAME",
            "JIGSAW",
            "PUZZLE",
            "SPACEBOY",
            "MARBLE",
            "SKIPPING",
            "TEDDY",
            "DINOSAUR",
            "KIT",
            "PLAYHOUSE",
        ],
    ),
    (
        "Kitchen & Dining",
        &[
            "MUG",
            "BOWL",
            "CUP",
            "PLATE",
            "TEA",
            "TEAPOT",
            "CAKE",
            "CAKESTAND",
            "COFFEE",
            "CUTLERY",
            "LUNCH",
            "BOTTLE",
            "TRAY",
            "JUG",
            "APRON",
            "KITCHEN",
            "JAR",
            "EGG",
            "BAKING",
            "SPOON",
            "SAUCER",
            "DINNER",
            "BREAKFAST",
            "COASTER",
            "TOWEL",
            "SNACK",
            "RECIPE",
            "NAPKIN",
            "DISH",
            "FOOD",
            "JAM",
            "BREAD",
            "COOKIE",
            "PANTRY",
        ],
    ),
    (
        "Paper & Stationery",
        &[
            "CARD", "PAPER", "WRAP", "NOTEBOOK", "STICKER", "PEN", "PENCIL", "TISSUE", "TAPE", "RIBBON",
            "BOOK", "ERASER", "RULER", "CALENDAR", "ENVELOPE", "ORIGAMI", "TAG", "MAGNET", "STAMP",
        ],
    ),
    ("Garden", &["GARDEN", "PLANT", "PLANTER", "WATERING", "FLOWERPOT", "HERB", "GROW", "BIRDHOUSE"]),
];

/// Guesses the category of a product from its name, in upper or lower case.
pub fn category_of(name: &str) -> &'static str {
    let name = name.to_uppercase();
    let words: Vec<&str> = name.split(|letter: char| !letter.is_alphanumeric()).collect();
    let claims =
        |known: &&str| words.iter().any(|word| word == known || word.strip_suffix('S') == Some(known));
    CATEGORIES.iter().find(|row| row.1.iter().any(claims)).map_or(OTHERWISE, |row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_with_a_word_of_the_name_wins() {
        for (name, expected) in [
            ("WHITE HANGING HEART T-LIGHT HOLDER", "Candles & Lights"),
            ("CHRISTMAS CRAFT TREE TOP ANGEL", "Christmas"),
            ("JUMBO BAG RED RETROSPOT", "Bags & Umbrellas"),
            ("set of 3 cake tins pantry design", "Kitchen & Dining"),
            ("CHILDREN'S SPACEBOY MUG", "Toys & Children"),
            ("KNITTED UNION FLAG HOT WATER BOTTLE", "Kitchen & Dining"),
            ("EARRINGS, 3 PAIRS", "Jewellery"),
            ("STRING OF THINGS", "Home & Decoration"),
            ("", "Home & Decoration"),
        ] {
            assert_eq!(category_of(name), expected, "{name}");
        }
    }
}
