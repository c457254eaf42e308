"""The terms of a report, one plain sentence each, in both languages."""

from __future__ import annotations

from services.verifier.catalogue import Text

GLOSSARY: tuple[tuple[Text, Text], ...] = (
    (
        Text("Chữ ký số", "Digital signature"),
        Text(
            "Con số chỉ người giữ khóa bí mật tạo ra được, gắn với đúng nội dung này; sửa một byte là không còn khớp.",
            "A number that only the holder of a private key can make for exactly this content; one changed byte and "
            "it no longer fits.",
        ),
    ),
    (
        Text("Chứng thư", "Certificate"),
        Text(
            "Giấy xác nhận điện tử của tổ chức chứng thực: khóa này thuộc về người này, trong thời hạn này.",
            "An authority's electronic statement that a key belongs to a person or organisation for a period.",
        ),
    ),
    (
        Text("Gốc tin cậy", "Trusted root"),
        Text(
            "Chứng thư mà đơn vị vận hành đã chọn để tin; mọi chứng thư khác phải dẫn được về đó.",
            "A certificate that the operator has chosen to trust; every other one must lead back to it.",
        ),
    ),
    (
        Text("Dấu thời gian", "Timestamp"),
        Text(
            "Xác nhận của một cơ quan độc lập rằng dữ liệu đã tồn tại vào một thời điểm.",
            "An independent authority's statement that data existed at a moment.",
        ),
    ),
    (
        Text("Thời điểm khai báo", "Claimed time"),
        Text(
            "Giờ trên máy của người ký; không ai khác làm chứng.",
            "The clock of the signer's own computer; nobody else vouches for it.",
        ),
    ),
    (
        Text("Thu hồi, tạm dừng", "Revocation, suspension"),
        Text(
            "Tổ chức chứng thực rút lại chứng thư trước hạn, chẳng hạn khi khóa bị lộ.",
            "The authority takes a certificate back before its time, for example because the key was stolen.",
        ),
    ),
    (
        Text("CRL, OCSP", "CRL, OCSP"),
        Text(
            "Danh sách và câu trả lời trực tuyến của tổ chức chứng thực về những chứng thư đã bị thu hồi.",
            "The authority's list, and its online answer, about revoked certificates.",
        ),
    ),
    (
        Text("Mức B, T, LT, LTA", "Levels B, T, LT, LTA"),
        Text(
            "Chữ ký mang theo càng nhiều bằng chứng thì kiểm tra được càng lâu: B chỉ chữ ký, T thêm dấu thời gian, "
            "LT thêm dữ liệu trạng thái, LTA thêm dấu thời gian bảo vệ tất cả.",
            "The more evidence a signature carries, the longer it can be verified: B the signature alone, T a "
            "timestamp too, LT status data too, LTA a timestamp that protects them all.",
        ),
    ),
    (
        Text("Phiên bản", "Revision"),
        Text(
            "Mỗi lần ký hoặc lưu thêm, PDF giữ nguyên phần cũ và nối phần mới vào cuối.",
            "Each time a PDF is signed or added to, the old part stays as it is and the new one is appended.",
        ),
    ),
)
