"""Every sentence of the public page, Vietnamese first, English beside it (the report's own are in `catalogue`)."""

from __future__ import annotations

from services.verifier.catalogue import Text

PAGE = {
    "title": Text("Kiểm tra chữ ký số", "Verify digital signatures"),
    "question": Text("Tài liệu này có đáng tin không?", "Can I rely on this document?"),
    "lead": Text(
        "Chọn một tệp PDF đã ký số. Bạn sẽ biết ai đã ký, ký khi nào, và tài liệu có bị sửa sau khi ký hay không.",
        "Choose a digitally signed PDF. You learn who signed it, when, and whether it was changed afterwards.",
    ),
    "choose": Text("Tệp PDF đã ký", "The signed PDF"),
    "pick": Text("Chọn tệp", "Choose a file"),
    "drop": Text(
        "Kéo tệp thả vào đây để kiểm tra ngay, hoặc chọn tệp rồi bấm Kiểm tra.",
        "Drop the file here to verify it at once, or choose it and press Verify.",
    ),
    "submit": Text("Kiểm tra", "Verify"),
    "limits": Text("PDF, tối đa {size}.", "PDF, at most {size}."),
    "busy": Text("Đang gửi và kiểm tra", "Sending and verifying"),
    "slow": Text(
        "Vẫn đang kiểm tra. Tệp lớn hoặc nhiều chữ ký cần thêm thời gian, tối đa khoảng {seconds} giây.",
        "Still verifying. Large files and many signatures take longer, up to about {seconds} seconds.",
    ),
    "not-pdf": Text("Đây không phải tệp PDF. Hãy chọn tệp PDF đã ký.", "This is no PDF. Choose the signed PDF file."),
    "too-big": Text("Tệp lớn hơn {size}. Hãy chọn tệp nhỏ hơn.", "The file exceeds {size}. Choose a smaller one."),
    "one-file": Text("Mỗi lần chỉ kiểm tra một tệp.", "One file at a time, please."),
    "what": Text("Bạn sẽ thấy gì", "What you will see"),
    "what-1": Text(
        "Một câu trả lời: Đạt, Không đạt, hoặc Chưa đủ căn cứ.", "One answer: Passed, Failed or Undetermined."
    ),
    "what-2": Text(
        "Người ký, tổ chức, thời điểm được chứng minh, và những gì thay đổi sau khi ký, khoanh trên ảnh trang.",
        "The signer, the organisation, the proven time, and what changed after signing, framed on the page's image.",
    ),
    "what-3": Text(
        "Từng bước kiểm tra kèm căn cứ, theo Thông tư 15/2025/TT-BKHCN.",
        "Each check with its clause, designed against Circular 15/2025/TT-BKHCN.",
    ),
    "privacy": Text("Tệp của bạn không được lưu", "Your file is not kept"),
    "privacy-text": Text(
        "Tệp chỉ ở trong bộ nhớ khi đang kiểm tra, rồi bị xóa. Ảnh các trang nằm ngay trong trang kết quả; "
        "đóng trang là hết. Không cần tài khoản.",
        "The file is in memory while it is verified, then it is gone. The images of its pages are part of the result "
        "page itself; close it and they are gone too. No account is needed.",
    ),
    "machines": Text("Dành cho phần mềm", "For software"),
    "machines-text": Text(
        "Gửi tệp tới địa chỉ dưới đây, nhận JSON. Mô tả ở /docs.",
        "Send the file to the address below and get JSON. Described at /docs.",
    ),
    "again": Text("Kiểm tra tệp khác", "Verify another file"),
    "not-kept": Text(
        "Tệp này không được lưu lại; ảnh các trang nằm ngay trong trang này. Muốn giữ kết quả, hãy in hoặc lưu trang.",
        "This file was not kept; the images of its pages are part of this page. To keep the result, print or save it.",
    ),
    "refused": Text("Chưa kiểm tra được", "Not verified"),
    "quote": Text("Mã sự việc", "Reference"),
    "status": Text("Mã trạng thái", "Status"),
    "wait": Text("Hãy thử lại sau {seconds} giây.", "Try again in {seconds} seconds."),
    "wait-minutes": Text("Hãy thử lại sau {minutes} phút.", "Try again in {minutes} minutes."),
    "copy": Text("Sao chép", "Copy"),
    "copied": Text("Đã sao chép", "Copied"),
    "who": Text("Ai đã ký", "Who signed"),
    "what-changed": Text("Điều gì đã thay đổi sau khi ký", "What changed after signing"),
    "nothing-changed": Text(
        "Không có thay đổi nào sau chữ ký cuối cùng.", "Nothing has changed since the last signature."
    ),
    "after": Text("Sau chữ ký của {name}", "After the signature of {name}"),
    "looks-same": Text("Không trang nào trông khác đi.", "No page looks different."),
    "cannot-compare": Text(
        "Không vẽ được một trong hai phiên bản nên không so sánh được hình ảnh.",
        "One of the two versions cannot be drawn, so their looks cannot be compared.",
    ),
    "page-changed": Text("Trang {page} trông khác đi", "Page {page} looks different"),
    "page-added": Text("Trang {page} được thêm vào", "Page {page} was added"),
    "page-removed": Text("Trang {page} bị bỏ đi", "Page {page} was removed"),
    "before": Text("Khi {name} ký", "When {name} signed"),
    "afterwards": Text("Sau đó", "Afterwards"),
    "no-image": Text("Không có ảnh", "No image"),
    "frames": Text(
        "Vùng khác đi, tính bằng phần trăm của trang từ góc trên bên trái",
        "Regions that differ, in percent of the page from its upper left corner",
    ),
    "frame": Text(
        "cách trái {left} %, cách trên {top} %, rộng {width} %, cao {height} %",
        "{left} % from the left, {top} % from the top, {width} % wide, {height} % high",
    ),
    "pages-now": Text("Các trang như hiện tại", "The pages as they are now"),
    "pages-shown": Text("{shown} trang đầu trên {pages} trang.", "The first {shown} of {pages} pages."),
    "pages-compared": Text("Đã so sánh {compared} trang đầu.", "The first {compared} pages were compared."),
    "pages-cut": Text(
        "Không đủ thời gian để vẽ mọi trang; hãy mở tệp để xem đủ.",
        "There was no time to draw every page; open the file to see all of them.",
    ),
    "not-drawn": Text(
        "Không vẽ được các trang của tệp này. Kết quả kiểm tra ở trên không phụ thuộc vào hình ảnh.",
        "The pages of this file cannot be drawn. The result above does not depend on the images.",
    ),
    "appendix": Text("Các bước theo Phụ lục II", "Checks of Appendix II"),
    "fields": Text(
        "Thông tin theo Điều 6, Thông tư 15/2025/TT-BKHCN", "Fields of Article 6, Circular 15/2025/TT-BKHCN"
    ),
    "chain": Text("Chuỗi chứng thư", "Chain of certificates"),
    "chain-signer": Text("người ký", "signer"),
    "chain-issuer": Text("cơ quan cấp", "issuer"),
    "chain-root": Text("gốc tin cậy", "trusted root"),
    "chain-open": Text("Không dẫn tới gốc tin cậy nào.", "It leads to no trusted root."),
    "glossary": Text("Giải thích từ ngữ", "What the terms mean"),
    "paper": Text("Tải báo cáo PDF có niêm phong", "Download the report as a sealed PDF"),
    "paper-told": Text(
        "Báo cáo PDF của tệp này sẽ được tải xuống khi kiểm tra xong.",
        "The PDF report of this file is downloaded when it has been verified.",
    ),
    "about-file": Text("Về tệp này", "About this file"),
}

FAULTS = {
    "too-large": Text("Tệp quá lớn. Hãy chọn tệp nhỏ hơn.", "The file is too large. Choose a smaller one."),
    "too-many-requests": Text(
        "Bạn đã gửi nhiều tệp trong thời gian ngắn. Hãy đợi rồi gửi lại.",
        "You have sent many files in a short time. Wait, then send it again.",
    ),
    "too-many-waiting": Text(
        "Đang có nhiều tệp chờ kiểm tra. Hãy gửi lại sau vài giây.",
        "Many files are waiting to be verified. Send it again in a few seconds.",
    ),
    "too-slow": Text(
        "Tệp gửi lên quá chậm nên đã dừng. Hãy gửi lại khi đường truyền tốt hơn.",
        "The file arrived too slowly and was given up. Send it again over a better line.",
    ),
    "media-type-unsupported": Text(
        "Không nhận được tệp PDF nào. Hãy chọn tệp bằng biểu mẫu dưới đây.",
        "No PDF arrived. Choose the file with the form below.",
    ),
    "multipart-unreadable": Text(
        "Biểu mẫu gửi lên không đọc được. Hãy chọn lại tệp và gửi lần nữa.",
        "The form cannot be read. Choose the file again and send it once more.",
    ),
    "part-missing": Text("Bạn chưa chọn tệp nào.", "You have not chosen a file."),
    "no-file": Text("Bạn chưa chọn tệp nào.", "You have not chosen a file."),
    "unexpected-part": Text("Mỗi lần chỉ kiểm tra một tệp. Hãy chọn lại.", "One file at a time, please. Choose again."),
    "no-seal": Text(
        "Đơn vị này chưa có khóa niêm phong báo cáo. Hãy xem kết quả trên trang.",
        "This service has no key to seal reports with. Read the result on the page instead.",
    ),
    "unforeseen-fault": Text(
        "Có lỗi ngoài dự kiến ở phía chúng tôi. Hãy thử lại; nếu vẫn lỗi, hãy báo kèm mã sự việc.",
        "Something unforeseen went wrong on our side. Try again; if it persists, report it with the reference.",
    ),
}
OTHER = Text("Yêu cầu không thực hiện được. Hãy thử lại.", "The request cannot be met. Try again.")


def fault(code: str) -> Text:
    """What a refusal says to people."""
    return FAULTS.get(code, OTHER)
