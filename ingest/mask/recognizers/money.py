"""Amounts of money, in digits, in Chinese numerals of both kinds, and in English words."""

from __future__ import annotations

from ingest.mask.recognizers.rule import Rule, Shape

NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,6}|[0-9]{1,18})(?:\.[0-9]{1,6})?"
NO_NUMBER_BEFORE = r"(?<![0-9A-Za-z_])(?<![0-9][.,])"
SCALE = (
    r"(?:[ ]?(?:万亿|千万|百万|十万|亿|万|千|百)|[ ]?(?i:thousand|million|billion|trillion|mn|bn|k|m|b)(?![A-Za-z]))?"
)
SIGN = r"(?:(?<![A-Za-z_$])(?:US|HK|NT|CA|AU|A|C|S)?\$|[¥€£₩₹])"  # sums may stand side by side: ¥5.00¥7.50
CODE = r"(?:RMB|CNY|USD|EUR|GBP|JPY|HKD|AUD|CAD|CHF|SGD|rmb|cny|usd|eur|gbp)"
CHINESE_NAME = r"(?:人民币|美元|美金|欧元|英镑|日元|港元|港币|澳元|加元|韩元|新台币|卢布)"
# `2024元旦`, `一元二次方程` and `三元锂电池` are no amounts.
YUAN = r"(?:[元圆](?!旦|宵|素|方程|[一二三]次|论|锂|催化|函数|数组|组|器|件|桥)钱?|块钱)"
CHINESE_UNIT = rf"(?:{YUAN}|{CHINESE_NAME})"
ENGLISH_UNIT = (
    rf"[ -]?(?:{CODE}|(?i:(?:us|u\.s\.|hong kong|canadian|australian|singapore)[ ])?"
    r"(?i:dollars?|euros?|pounds? sterling|pounds(?! of)|yuan|yen|renminbi|cents))(?![A-Za-z])"
)
RANGE = rf"(?:{NUMBER}{SCALE}[ ]?(?:-|~|至|到|to)[ ]?)?"

NUMERALS = "零〇一二两三四五六七八九十百千万亿"
FORMAL_DIGITS = "壹贰貳叁參肆伍陆陸柒捌玖拾"
FORMAL = f"{FORMAL_DIGITS}零〇佰仟万萬亿億两"
WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)"
)

MONEY = Rule(
    "MONEY",
    (
        Shape(
            "sign or code first",
            rf"(?:{SIGN}|(?<![A-Za-z_]){CODE}|{CHINESE_NAME})[ :]?[ ]?{RANGE}{NUMBER}{SCALE}"
            rf"(?:[ ]?{CHINESE_UNIT})?",
            0.7,
        ),
        Shape("Chinese unit", rf"{NO_NUMBER_BEFORE}{RANGE}{NUMBER}{SCALE}[余多]?[ ]?{CHINESE_UNIT}", 0.7),
        Shape("English unit", rf"{NO_NUMBER_BEFORE}{RANGE}{NUMBER}{SCALE}{ENGLISH_UNIT}", 0.7),
        Shape(
            "formal numerals",
            rf"(?<![{FORMAL}])(?:人民币[ ]?)?[{FORMAL_DIGITS}][{FORMAL}]{{0,40}}[元圆圓]"
            rf"(?:零?[{FORMAL_DIGITS}]角)?(?:零?[{FORMAL_DIGITS}]分)?[整正]?",
            0.7,
        ),
        Shape("numerals", rf"(?<![{NUMERALS}数第])[{NUMERALS}]{{2,30}}[余多]?{CHINESE_UNIT}", 0.6),
        Shape("one numeral", rf"(?<![{NUMERALS}数第])[一两二三四五六七八九十]{CHINESE_UNIT}", 0.2),
        Shape("English words", rf"(?<![A-Za-z-])(?i:{WORD}(?:[ -](?:and )?{WORD}){{0,12}}){ENGLISH_UNIT}", 0.6),
    ),
    context=("价", "费", "付", "花", "收", "元钱", "金额", "工资", "薪", "款"),
    canonical=lambda value: "".join(value.replace(",", "").split()).upper(),
    mask=lambda _: "***",  # stars in the places of digits would still tell how much it is, nearly
)

RULES = (MONEY,)
