from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.language import detect

LINK = "https://example.com/the-project/blob/master/python/serve/api.py"
PARAGRAPHS = {
    "zh": "员工连续工作满一年后，可以享受带薪年休假。年假天数按照工龄计算，未休完的年假应当在次年三月底以前使用。",
    "en": "Employees may take paid annual leave after one year of service. Days that are left must be used by March.",
    "ja": "従業員は一年間勤務した後、有給休暇を取得することができます。残った日数は翌年三月末までに使用してください。",
    "de": "Nach einem Jahr im Betrieb haben die Beschäftigten Anspruch auf Urlaub, der bis März genommen wird.",
    "fr": "Après une année de service, les salariés ont droit à des congés payés, à prendre avant la fin mars.",
    "ru": "После года работы сотрудники имеют право на отпуск, который следует использовать до конца марта.",
    "ko": "직원은 일 년 근무한 후 유급 휴가를 사용할 수 있으며, 남은 휴가는 다음 해 삼월 말까지 사용해야 합니다.",
    "es": "Después de un año de servicio, los empleados tienen derecho a vacaciones pagadas hasta finales de marzo.",
    "it": "Dopo un anno di servizio i dipendenti hanno diritto alle ferie retribuite, da usare entro la fine di marzo.",
    "ar": "يحق للموظفين بعد سنة من الخدمة الحصول على إجازة سنوية مدفوعة الأجر يجب استخدامها قبل نهاية شهر مارس.",
}


@pytest.mark.parametrize("language", PARAGRAPHS)
def test_a_paragraph_is_known_by_its_language(language: str) -> None:
    assert detect(PARAGRAPHS[language]) == language


@pytest.mark.parametrize("language", PARAGRAPHS)
def test_a_long_document_is_known_by_most_of_it(language: str) -> None:
    preface = "All rights reserved. No part of this publication may be reproduced. " * 20
    assert detect(preface + PARAGRAPHS[language] * 200) == language


def test_chinese_is_known_in_traditional_script_and_in_one_sentence() -> None:
    assert detect("員工請病假須提交醫院證明，年假當年有效，逾期視為放棄。") == "zh"
    assert detect("年假当年有效，不可以结转。") == "zh"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("首先用 pip install embed_cluster 安装，然后打开 https://example.com/docs/index.html 查看说明。", "zh"),
        ("配置文件位于 /etc/embed/cluster.yaml，日志在 /var/log/embed/serve.log，重启以后生效。", "zh"),
        ("本程序使用 pip install vllm 安装，然后运行 python -m vllm.entrypoints.openai.api_server 启动。", "zh"),
        (f"{LINK}\n" * 8 + "Weitere Hinweise finden Sie hier.", "de"),
        (f"详见 {LINK} 。\n" * 8, "zh"),
    ],
)
def test_text_about_english_software_is_known_by_the_language_it_is_written_in(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    "text",
    ["", "年假 5 天", "Total", "A 3 4.50", "| 1 | 2 |\n| --- | --- |\n| 3.14 | 2,718 |" * 50, "____ ....\n" * 500],
)
def test_where_there_is_too_little_to_tell_no_language_is_claimed(text: str) -> None:
    assert detect(text) == ""


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_at_all_has_a_code_of_two_letters_or_none(text: str) -> None:
    assert len(detect(text)) in (0, 2)


def test_the_model_is_loaded_only_when_a_language_is_asked_for() -> None:
    probe = "import sys, ingest.language; print('py3langid' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "False"
