"""Fields of a change of parties of a power purchase agreement, all made up."""

from __future__ import annotations

from typing import Any


def fields(**changed: Any) -> dict[str, Any]:
    """The template's fields as JSON values; keyword arguments replace whole members."""
    made: dict[str, Any] = {
        "number": "01/2026/TT-MBĐ",
        "made_on": "2026-11-24",
        "effective_on": "2026-12-01",
        "outgoing": {
            "kind": "organisation",
            "name": "Công ty Cổ phần Dệt may Hoàng Liên",
            "number": "0104359717",
            "address": "Số 12 đường Trần Phú, phường Ba Đình, thành phố Hà Nội",
            "representative": "Nguyễn Thị Ánh Tuyết",
            "position": "Giám đốc",
        },
        "incoming": {
            "kind": "citizen",
            "name": "Đỗ Quỳnh Ngọc Thắng",
            "address": "Số 4 ngõ 31 phố Hàng Bột, phường Ô Chợ Dừa, thành phố Hà Nội",
        },
        "supplier": {
            "kind": "organisation",
            "name": "Công ty Điện lực Thử nghiệm Sông Hồng",
            "number": "0106323762",
            "address": "Số 69 phố Đinh Tiên Hoàng, phường Hoàn Kiếm, thành phố Hà Nội",
            "representative": "Phạm Văn Khởi",
            "position": "Tổng giám đốc",
        },
        "contract": {
            "number": "PD0100/2021/HĐMBĐ",
            "signed_on": "2021-03-15",
            "customer_code": "PD01000123456",
            "place": "Xưởng may số 2, khu công nghiệp Quang Minh, Hà Nội",
            "purpose": "Sản xuất",
            "voltage": "380 V",
        },
        "meter": {"number": "CT-2021-004711", "reading": "128456.5", "read_on": "2026-11-23"},
        "debts": {"cleared": True, "last_amount": 18450000, "paid_on": "2026-11-23", "deposit": 30000000},
    }
    return {**made, **changed}
