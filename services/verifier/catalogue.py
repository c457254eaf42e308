"""Every sentence of the report and the command, Vietnamese first, English beside it; no other module holds words.

A plain table, not gettext: each entry has both languages side by side, so that neither can be forgotten; a test finds
codes without an entry. Placeholders in braces are filled from a finding's detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """One sentence in both languages."""

    vi: str
    en: str

    def filled(self, detail: Mapping[str, object]) -> Text:
        """With the placeholders filled; an unknown one shows as `?`."""
        values = _Blank({key: str(value) for key, value in detail.items()})
        return Text(self.vi.format_map(values), self.en.format_map(values))


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _t(vi: str, en: str) -> Text:
    return Text(vi, en)


VERDICTS = {
    "passed": _t("Đạt", "Passed"),
    "failed": _t("Không đạt", "Failed"),
    "undetermined": _t("Chưa đủ căn cứ", "Undetermined"),
}

OUTCOMES = {
    "passed": _t("Đạt", "Passed"),
    "failed": _t("Không đạt", "Failed"),
    "undetermined": _t("Chưa đủ căn cứ", "Undetermined"),
    "notice": _t("Đạt, có lưu ý", "Passed, with a notice"),
    "skipped": _t("Không áp dụng", "Not applicable"),
}

SENTENCES = {
    "passed": _t(
        "Có thể tin cậy tài liệu này: {signatures} chữ ký đều hợp lệ và nội dung còn nguyên vẹn.",
        "You can rely on this document: all {signatures} signatures are valid and the content is intact.",
    ),
    "passed-one": _t(
        "Có thể tin cậy tài liệu này: chữ ký hợp lệ và nội dung còn nguyên vẹn.",
        "You can rely on this document: its signature is valid and the content is intact.",
    ),
    "failed-changed": _t(
        "Không được tin cậy: tài liệu đã bị thay đổi sau khi ký.",
        "Do not rely on this document: it was changed after it was signed.",
    ),
    "failed-broken": _t(
        "Không được tin cậy: có chữ ký không khớp với tài liệu.",
        "Do not rely on this document: a signature does not fit it.",
    ),
    "failed": _t(
        "Không được tin cậy: {failing} trên {signatures} chữ ký không hợp lệ.",
        "Do not rely on this document: {failing} of {signatures} signatures are not valid.",
    ),
    "undetermined": _t(
        "Chưa đủ căn cứ xác định: nội dung còn nguyên vẹn, nhưng chưa chứng minh được chữ ký còn hiệu lực khi ký.",
        "Undetermined: the content is intact, but it is not proven that the signature was valid when it was made.",
    ),
    "unsigned": _t("Tài liệu này chưa có chữ ký số.", "This document carries no digital signature."),
    "unreadable": _t(
        "Không thể kiểm tra tài liệu này.",
        "This document cannot be verified.",
    ),
    "signed-proven": _t(
        "{name} đã ký; dấu thời gian chứng minh chữ ký có trước {time}.",
        "{name} signed; a timestamp proves that the signature existed by {time}.",
    ),
    "signed-claimed": _t(
        "{name} khai đã ký lúc {time}; thời điểm này chưa được chứng minh.",
        "{name} claims to have signed at {time}; that time is not proven.",
    ),
    "signed": _t("{name} đã ký; không rõ thời điểm.", "{name} signed; the time is unknown."),
    "signed-by-nobody": _t("Chữ ký không cho biết ai đã ký.", "The signature does not say who signed."),
}

INTEGRITY = {
    "intact": _t("Còn nguyên vẹn", "Intact"),
    "changed": _t("Đã bị thay đổi sau khi ký", "Changed after signing"),
    "broken": _t("Chữ ký không khớp với nội dung", "The signature does not fit the content"),
    "unsigned": _t("Không có chữ ký", "Not signed"),
    "unreadable": _t("Không đọc được", "Unreadable"),
}

KINDS = {
    "approval": _t("Chữ ký phê duyệt", "Approval signature"),
    "certification": _t("Chữ ký chứng nhận tài liệu", "Certification signature"),
    "unsupported": _t("Chữ ký thuộc loại không được hỗ trợ", "Signature of an unsupported kind"),
    "unlisted": _t("Chữ ký bị ẩn khỏi tài liệu", "Signature hidden from the document"),
    "document": _t("Dấu thời gian của tài liệu", "Document timestamp"),
    "signature": _t("Dấu thời gian của chữ ký", "Signature timestamp"),
    "content": _t("Dấu thời gian của nội dung", "Content timestamp"),
}

CHECKS = {
    "readable": _t("Đọc được tệp PDF", "The PDF can be read"),
    "signed": _t("Có chữ ký", "There is a signature"),
    "fields": _t("Các trường chữ ký đọc được", "The signature fields can be read"),
    "listed": _t("Chữ ký có trong danh mục của tài liệu", "The signature is listed in the document"),
    "since-base": _t("Chỉ thêm chữ ký vào bản đã thỏa thuận", "Only a signature was added to what was agreed"),
    "byte-range": _t("Vùng byte được ký", "The signed byte range"),
    "tail": _t("Không có dữ liệu lạ sau phần được ký", "No stray data after the signed part"),
    "changes": _t("Thay đổi sau khi ký", "Changes after signing"),
    "parsing": _t("Cách đọc tệp", "How the file was read"),
    "format": _t("Khuôn dạng chữ ký", "Signature format"),
    "hash-equal": _t("Mã băm trùng khớp", "The hash is equal"),
    "key-match": _t("Khóa khớp với chữ ký", "The key matches the signature"),
    "signing-certificate": _t(
        "Chứng thư của người ký gắn với chữ ký", "The signer's certificate is bound to the signature"
    ),
    "algorithms": _t("Thuật toán được phép dùng", "Permitted algorithms"),
    "timestamp": _t("Dấu thời gian", "Timestamp"),
    "content-timestamp": _t("Dấu thời gian của nội dung", "Content timestamp"),
    "signing-time": _t("Ký trong thời hạn của chứng thư", "Signed within the certificate's validity"),
    "path": _t("Đường dẫn tới chứng thư gốc tin cậy", "Path to a trusted root"),
    "status": _t("Trạng thái chứng thư người ký khi ký", "Status of the signer's certificate at signing"),
    "issuer-status": _t("Trạng thái chứng thư cơ quan cấp", "Status of the issuing authority's certificate"),
    "scope": _t("Phạm vi sử dụng của chứng thư", "Scope of use of the certificate"),
    "extended-usage": _t("Mục đích sử dụng mở rộng", "Extended key usage"),
    "policy": _t("Quy chế chứng thực", "Certification practice statement"),
    "signer": _t("Thông tin người ký", "Signer's information"),
    "lifetime": _t("Thời hạn chứng thư không quá ba năm", "The certificate lives at most three years"),
    "trust": _t("Danh sách tin cậy", "Trusted set"),
    "level": _t("Mức chữ ký", "Signature level"),
    "judged": _t("Kiểm tra hoàn tất", "The check was completed"),
    "engines": _t("Bộ kiểm tra độc lập thứ hai", "A second, independent engine"),
    "token-format": _t("Khuôn dạng dấu thời gian", "Timestamp format"),
    "token-imprint": _t("Dấu thời gian đóng đúng dữ liệu này", "The timestamp stamps these very data"),
    "token-signature": _t("Chữ ký trên dấu thời gian", "Signature on the timestamp"),
    "token-algorithms": _t("Thuật toán của dấu thời gian", "Algorithms of the timestamp"),
    "token-ess": _t("Chứng thư gắn với dấu thời gian", "The certificate is bound to the timestamp"),
    "token-purpose": _t("Chứng thư dành cho cấp dấu thời gian", "The certificate is meant for timestamps"),
    "token-time": _t("Thời điểm hợp lý", "The time is plausible"),
    "token-path": _t("Đường dẫn tới gốc tin cậy", "Path to a trusted root"),
    "token-validity": _t(
        "Chứng thư cấp dấu thời gian còn hiệu lực", "The timestamp authority's certificate is in force"
    ),
    "token-status": _t("Trạng thái chứng thư cấp dấu thời gian", "Status of the timestamp authority's certificate"),
    "token-order": _t("Thứ tự các dấu thời gian", "Order of the timestamps"),
}

EXPLANATIONS = {
    # The other engine accepts what engine one refuses.
    "coverage-by-sum": _t(
        "Bộ kia chỉ so tổng độ dài vùng được ký với cỡ tệp, không xét khoảng trống nằm ở đâu và chứa gì.",
        "The other compares only the summed lengths of the signed ranges with the file's size, not where the gap lies "
        "or what fills it.",
    ),
    "tail-ignored": _t(
        "Bộ kia bỏ qua các byte nằm sau phiên bản cuối cùng.",
        "The other ignores bytes after the last revision.",
    ),
    "definition-not-looked-for": _t(
        "Bộ kia chỉ đọc theo tham chiếu chéo, không tìm các bản khác của cùng đối tượng.",
        "The other reads by the cross-references alone and looks for no other definitions of the same object.",
    ),
    "replacement-as-form-filling": _t(
        "Bộ kia coi việc thay nội dung biểu mẫu đã ký là điền biểu mẫu.",
        "The other takes the replacement of a form value that was signed for form filling.",
    ),
    "attributes-not-required": _t(
        "Bộ kia chấp nhận chữ ký không có thuộc tính được ký hoặc không gắn chứng thư người ký.",
        "The other accepts signatures without signed attributes, or not bound to the signer's certificate.",
    ),
    "content-not-looked-at": _t(
        "Bộ kia không xét nội dung nằm bên trong giá trị chữ ký.",
        "The other does not look at content inside the signature value.",
    ),
    "timestamps-not-placed-in-time": _t(
        "Bộ kia không đặt dấu thời gian vào dòng thời gian: tin cả dấu ở tương lai hoặc trước chứng thư.",
        "The other does not place timestamps in time: it trusts one from the future or from before the certificate.",
    ),
    "weak-algorithms-not-refused": _t(
        "Bộ kia không từ chối thuật toán yếu này.",
        "The other does not refuse this weak algorithm.",
    ),
    "status-judged-differently": _t(
        "Hai bộ đánh giá dữ liệu trạng thái chứng thư theo quy tắc khác nhau về độ mới.",
        "The two judge the freshness and origin of status data by different rules.",
    ),
    "rule-of-engine-one": _t(
        "Bộ kia không có quy tắc này (Thông tư 15/2025/TT-BKHCN Phụ lục II).",
        "The other has no such rule (Circular 15/2025/TT-BKHCN App. II).",
    ),
    "hidden-signature": _t(
        "Bộ kia chỉ thấy chữ ký còn được tài liệu liệt kê.",
        "The other sees only signatures that the document still lists.",
    ),
    # The other engine refuses, or cannot judge, what engine one accepts.
    "attributes-encoded-anew": _t(
        "Bộ kia mã hóa lại các thuộc tính được ký trước khi băm, nên không khớp với tệp.",
        "The other encodes the signed attributes anew before hashing, so that they no longer fit the file.",
    ),
    "validation-data-rewritten": _t(
        "Bộ kia coi dữ liệu xác thực do phần mềm khác viết lại là thay đổi đáng ngờ.",
        "The other calls validation data that another tool rewrote a suspicious change.",
    ),
    "judged-at-present-only": _t(
        "Bộ kia đánh giá theo thời điểm hiện tại, không theo thời điểm đã được chứng minh.",
        "The other judges by the present, not by the moment that is proven.",
    ),
    "status-wanted-for-all": _t(
        "Bộ kia đòi dữ liệu trạng thái của mọi chứng thư liên quan, theo độ mới của riêng nó.",
        "The other demands status data of every certificate involved, as fresh as it sees fit.",
    ),
    "dangling-references": _t(
        "Bộ kia dừng ở tham chiếu tới đối tượng không có, mà ISO 32000-2 7.3.10 đọc là rỗng.",
        "The other stopped at a reference to an object that is not there, which ISO 32000-2 7.3.10 reads as null.",
    ),
    "digest-name-unknown": _t(
        "Bộ kia không biết tên thuật toán băm ghi trong chữ ký.",
        "The other does not know the digest algorithm by the name that the signature gives it.",
    ),
    "key-not-loadable": _t(
        "Bộ kia không nạp được khóa trong chứng thư (mô-đun RSA mã hóa như số âm).",
        "The other cannot load the certificate's key (an RSA modulus encoded as a negative number).",
    ),
    "other-cannot-read": _t(
        "Bộ kia không đọc được cấu trúc tệp ở chỗ này.",
        "The other cannot read the file's structure at this place.",
    ),
    "other-leaks-exceptions": _t(
        "Bộ kia dừng vì lỗi trong chính nó, không phải vì chữ ký.",
        "The other stopped at a fault of its own, not at the signature.",
    ),
    "other-has-no-rule": _t(
        "Bộ kia từ chối đánh giá cấu trúc này.",
        "The other declines to judge this structure.",
    ),
    "timestamp-without-type": _t(
        "Bộ kia không đánh giá được dấu thời gian thiếu mục /Type.",
        "The other cannot judge a timestamp without /Type.",
    ),
    "kind-not-judged": _t(
        "Bộ kia không đánh giá loại chữ ký này.",
        "The other does not judge this kind of signature.",
    ),
    "other-cannot-decrypt": _t(
        "Bộ kia không mở được tệp mã hóa này.",
        "The other cannot open this encrypted file.",
    ),
    "other-ran-out": _t(
        "Bộ kia vượt quá thời gian, bộ nhớ hoặc số lượng cho phép.",
        "The other exceeded its time, memory or number of items.",
    ),
    "value-only": _t(
        "Bộ kia chỉ được hỏi về giá trị băm và giá trị chữ ký.",
        "The other was asked about digest and signature value only.",
    ),
}

REASONS = {
    # engines
    "engines-disagree": _t(
        "Hai bộ kiểm tra độc lập kết luận khác nhau về {fields} mà không rõ vì sao; chưa thể tin cậy.",
        "Two independent engines differ on {fields} for no known reason; it cannot be relied on yet.",
    ),
    "other-more-lenient": _t(
        "Bộ kiểm tra thứ hai chấp nhận {fields}; kết luận nghiêm hơn được giữ.",
        "The second engine accepts {fields}; the stricter answer stands.",
    ),
    "other-stricter": _t(
        "Bộ kiểm tra thứ hai nghiêm hơn với {fields}.",
        "The second engine is stricter about {fields}.",
    ),
    "other-cannot-say": _t(
        "Bộ kiểm tra thứ hai không kết luận được về {fields}.",
        "The second engine cannot say about {fields}.",
    ),
    # the file
    "not-a-pdf": _t(
        "Đây không phải tệp PDF. Hãy chọn tệp PDF đã ký.", "This is not a PDF file. Choose the signed PDF."
    ),
    "pdf-unreadable": _t(
        "Cấu trúc tệp hỏng ({fault}). Hãy xin lại tệp gốc từ người gửi.",
        "The file's structure is damaged ({fault}). Ask the sender for the original file.",
    ),
    "signatures-unusable": _t(
        "Tệp có dấu vết chữ ký nhưng cấu trúc hỏng, không thể kiểm tra.",
        "The file shows traces of signatures, but its structure is damaged and nothing can be verified.",
    ),
    "encrypted": _t(
        "Tệp được mã hóa bằng mật khẩu; hãy gửi bản không mã hóa.",
        "The file is encrypted with a password; send it unencrypted.",
    ),
    "too-deep": _t("Cấu trúc tệp lồng quá sâu.", "The file's structure is nested too deeply."),
    "too-many-revisions": _t(
        "Tệp có {found} lần cập nhật, tối đa {most}.", "The file has {found} revisions, at most {most}."
    ),
    "too-many-fields": _t("Tệp có hơn {most} trường biểu mẫu.", "The file has more than {most} form fields."),
    "too-many-signatures": _t("Tệp có hơn {most} chữ ký.", "The file has more than {most} signatures."),
    "too-large": _t("Tệp có {found} byte, tối đa {most}.", "The file has {found} bytes, at most {most}."),
    "file-unreadable": _t("Không mở được tệp ({fault}).", "The file cannot be opened ({fault})."),
    "took-too-long": _t("Kiểm tra vượt quá {seconds} giây.", "The check took longer than {seconds} seconds."),
    "took-too-much-processor": _t(
        "Kiểm tra dùng quá {seconds} giây xử lý.", "The check used more than {seconds} seconds of processor."
    ),
    "took-too-much-memory": _t(
        "Kiểm tra dùng quá {octets} byte bộ nhớ.", "The check used more than {octets} bytes of memory."
    ),
    "report-too-long": _t("Báo cáo dài quá {most} byte.", "The report is longer than {most} bytes."),
    "judge-answered-nonsense": _t("Tiến trình kiểm tra trả lời sai dạng.", "The judging process answered nonsense."),
    "judge-vanished": _t("Tiến trình kiểm tra biến mất.", "The judging process vanished."),
    "judge-died": _t("Tiến trình kiểm tra dừng đột ngột (mã {code}).", "The judging process died (code {code})."),
    "tried-what-is-forbidden": _t(
        "Tiến trình kiểm tra đã thử làm điều bị cấm.", "The judging process tried to do what it may not."
    ),
    "sandbox-unavailable": _t("Không khởi động được môi trường kiểm tra.", "The sandbox could not be started."),
    "no-signature": _t("Không tìm thấy chữ ký nào.", "No signature was found."),
    "field-unreadable": _t("Không đọc được trường: {fields}.", "Fields that cannot be read: {fields}."),
    "signature-not-listed": _t(
        "Chữ ký nằm trong tệp nhưng tài liệu không còn liệt kê nó.",
        "The signature is in the file, but the document no longer lists it.",
    ),
    "value-shared": _t(
        "Cùng một chữ ký xuất hiện ở các trường: {fields}.", "The same signature stands in the fields: {fields}."
    ),
    "tolerant": _t(
        "Tệp không đúng chuẩn; đã đọc theo cách khoan dung.", "The file breaks the standard; it was read tolerantly."
    ),
    "defined-again": _t(
        "Đối tượng {object} còn một bản khác mà tham chiếu chéo không dùng: có trình xem sẽ hiển thị bản đó.",
        "Object {object} has another definition, which the cross-references do not use: some viewers will show that.",
    ),
    # byte rules
    "byte-range-form": _t("ByteRange không phải bốn số nguyên: {found}.", "ByteRange is not four integers: {found}."),
    "byte-range-start": _t(
        "ByteRange bắt đầu ở {found}, phải ở 0.", "ByteRange starts at {found}; it must start at 0."
    ),
    "byte-range-order": _t("ByteRange sai thứ tự: {found}.", "ByteRange is out of order: {found}."),
    "byte-range-outside": _t(
        "ByteRange tới byte {found}, tệp chỉ có {size}.", "ByteRange reaches byte {found}; the file has {size}."
    ),
    "byte-range-unusable": _t("Vùng byte không dùng được.", "The byte range cannot be used."),
    "gap-not-one-hex-string": _t(
        "Khoảng trống {bytes} byte chứa thứ khác ngoài giá trị chữ ký.",
        "The gap of {bytes} bytes holds something besides the signature value.",
    ),
    "gap-is-not-contents": _t(
        "Giá trị trong khoảng trống không phải giá trị chữ ký được dùng.",
        "The value in the gap is not the signature value in use.",
    ),
    "dictionary-elsewhere": _t(
        "Từ điển chữ ký nằm ngoài phần được ký (byte {offset}).",
        "The signature dictionary lies outside the signed part (byte {offset}).",
    ),
    "tail-unlisted-revision": _t(
        "Có bản cập nhật không được liệt kê ở byte {at}.", "There is an unlisted revision at byte {at}."
    ),
    "tail-without-revision": _t(
        "Có {bytes} byte lạ sau phần được ký.", "There are {bytes} stray bytes after the signed part."
    ),
    "tail-after-last-revision": _t(
        "Có {bytes} byte lạ sau dấu kết thúc cuối cùng.", "There are {bytes} stray bytes after the last end marker."
    ),
    "tail-far-end": _t(
        "Sau phần được ký có {bytes} byte đẩy dấu kết thúc ra xa: trình xem có thể hiển thị nội dung khác.",
        "After the signed part {bytes} bytes put the end out of viewers' sight: they may show other content.",
    ),
    "tail-unreadable": _t(
        "Sau phần được ký có dữ liệu không đọc được.", "After the signed part there are data that cannot be read."
    ),
    # changes
    "changes-permitted": _t("Có {count} thay đổi, tất cả đều được phép.", "{count} changes, all permitted."),
    "changes-not-analysable": _t(
        "Không phân tích được thay đổi sau khi ký ({fault}).", "The changes after signing cannot be analysed ({fault})."
    ),
    "revision-not-covered": _t(
        "Chữ ký không bao trùm toàn bộ phiên bản của nó.", "The signature does not cover its own revision wholly."
    ),
    "not-proven-harmless": _t(
        "Tài liệu bị thay đổi sau khi ký, không chứng minh được là vô hại.",
        "The document was changed after signing, and the change is not proven harmless.",
    ),
    "beyond-permission": _t(
        "Thay đổi vượt quá điều người chứng nhận cho phép.", "The changes go beyond what the certifier permits."
    ),
    "field-locked": _t("Trường đã khóa bị thay đổi.", "A locked field was changed."),
    "form-field-replaced": _t(
        "Hình ảnh của một trường mà người ký đã thấy bị thay, giá trị giữ nguyên.",
        "What a field shows was replaced, while its value stayed as the signer saw it.",
    ),
    "form-value-replaced": _t(
        "Một giá trị biểu mẫu mà người ký đã thấy được điền lại sau khi ký. Định dạng cho phép, vì trường không bị "
        "khóa; hãy xem giá trị mới.",
        "A form value that the signer saw was filled anew after signing. The format permits it, for the field is not "
        "locked: look at the new value.",
    ),
    "base-not-found": _t("Tệp không bắt đầu bằng bản đã thỏa thuận.", "The file does not begin with what was agreed."),
    "not-permitted": _t("Thay đổi không được phép.", "The change is not permitted."),
    # format
    "sub-filter-unsupported": _t(
        "Loại chữ ký {found} không được hỗ trợ.", "Signatures of the kind {found} are not supported."
    ),
    "contents-empty": _t("Giá trị chữ ký rỗng.", "The signature value is empty."),
    "contents-missing": _t("Không có giá trị chữ ký.", "There is no signature value."),
    "contents-unusable": _t("Giá trị không dùng được.", "The value cannot be used."),
    "not-signed-data": _t("Giá trị không phải CMS SignedData ({found}).", "The value is not CMS SignedData ({found})."),
    "not-one-signer": _t("CMS có {found} người ký, phải là một.", "The CMS has {found} signers; it must have one."),
    "cms-unreadable": _t("Không đọc được cấu trúc CMS ({fault}).", "The CMS structure cannot be read ({fault})."),
    "ess-unreadable": _t(
        "Không đọc được thuộc tính gắn chứng thư (ESS).",
        "The attribute that binds the certificate (ESS) cannot be read.",
    ),
    "content-stamped-after-signature": _t(
        "Dấu thời gian của nội dung muộn hơn thời điểm chữ ký được chứng minh.",
        "The content was stamped later than the signature is proven to have existed.",
    ),
    "content-encapsulated": _t(
        "CMS chứa nội dung bên trong, không được phép.", "The CMS encapsulates content, which is not allowed."
    ),
    "content-type-differs": _t("Thuộc tính content-type không khớp.", "The content-type attribute does not fit."),
    "message-digest-differs": _t("Nội dung khác với nội dung đã ký.", "The content differs from what was signed."),
    "digest-unknown": _t(
        "Thuật toán băm {algorithm} không được biết.", "The digest algorithm {algorithm} is not known."
    ),
    "signature-does-not-fit": _t("Chữ ký không khớp với khóa.", "The signature does not fit the key."),
    "signature-value-malformed": _t("Giá trị chữ ký sai dạng.", "The signature value is malformed."),
    "algorithm-does-not-fit-key": _t(
        "Thuật toán {algorithm} không hợp với khóa.", "The algorithm {algorithm} does not fit the key."
    ),
    "key-unreadable": _t("Không đọc được khóa công khai.", "The public key cannot be read."),
    "no-signing-certificate": _t(
        "Không có chứng thư của người ký trong chữ ký.", "The signer's certificate is not in the signature."
    ),
    "no-signed-attributes": _t("Chữ ký không có thuộc tính được ký.", "The signature has no signed attributes."),
    "ess-missing": _t(
        "Thiếu thuộc tính gắn chứng thư (ESS).", "The attribute that binds the certificate (ESS) is missing."
    ),
    "ess-missing-not-pades": _t(
        "Không có thuộc tính gắn chứng thư (ESS); loại chữ ký này không bắt buộc.",
        "No attribute binds the certificate (ESS); this kind of signature need not have one.",
    ),
    "ess-repeated": _t("Thuộc tính gắn chứng thư bị lặp.", "The attribute that binds the certificate is repeated."),
    "ess-other-certificate": _t("Thuộc tính trỏ tới chứng thư khác.", "The attribute names another certificate."),
    "algorithm-forbidden": _t("{algorithm} đã bị phá hoặc quá yếu.", "{algorithm} is broken or too weak."),
    "algorithm-unlisted": _t(
        "{algorithm} không nằm trong danh mục được phép.", "{algorithm} is not on the list of permitted ones."
    ),
    "algorithm-in-chain": _t(
        "Chứng thư trong đường dẫn dùng {algorithm}.", "A certificate on the path uses {algorithm}."
    ),
    "pkcs1-accepted": _t(
        "{algorithm}: chấp nhận khi kiểm tra; Phụ lục I yêu cầu RSASSA-PSS khi ký.",
        "{algorithm}: accepted on validation; App. I asks for RSASSA-PSS when signing.",
    ),
    "past-recommended-end": _t(
        "{algorithm}: Phụ lục I cho phép; ETSI TS 119 312 không còn khuyến nghị tại thời điểm này.",
        "{algorithm}: allowed by App. I; ETSI TS 119 312 no longer recommended it at this time.",
    ),
    "sound-only-then": _t(
        "{algorithm}: nay đã yếu; tại thời điểm được chứng minh thì chưa.",
        "{algorithm}: weak today; it was not yet at the proven time.",
    ),
    "mask-digest-differs": _t(
        "{algorithm}: hàm băm của MGF1 khác hàm băm của chữ ký.",
        "{algorithm}: the digest of MGF1 is not that of the signature.",
    ),
    "salt-length-unusual": _t(
        "{algorithm}: độ dài muối khác thường.", "{algorithm}: the length of the salt is unusual."
    ),
    "exponent-small": _t("{algorithm}: số mũ công khai nhỏ.", "{algorithm}: the public exponent is small."),
    "algorithm-noticed": _t("{algorithm}: chấp nhận, có lưu ý.", "{algorithm}: accepted, with a notice."),
    # time
    "timestamp-broken": _t("Dấu thời gian hỏng hoặc không khớp.", "The timestamp is broken or does not fit."),
    "timestamp-not-trusted": _t(
        "Dấu thời gian không dẫn tới gốc tin cậy.", "The timestamp is not proven to be trustworthy."
    ),
    "only-document-timestamp": _t(
        "Thời điểm được chứng minh bởi dấu thời gian của tài liệu.", "The time is proven by a document timestamp."
    ),
    "no-timestamp": _t(
        "Không có dấu thời gian; thời điểm ký chỉ là lời khai.",
        "There is no timestamp; the signing time is only claimed.",
    ),
    "not-yet-valid": _t(
        "Chứng thư chưa có hiệu lực ({not_before}).", "The certificate was not yet valid ({not_before})."
    ),
    "expired-then": _t(
        "Chứng thư đã hết hạn khi ký ({not_after}).", "The certificate had expired when it was used ({not_after})."
    ),
    "expired-and-unproven": _t(
        "Chứng thư đã hết hạn ({not_after}) và không có gì chứng minh chữ ký có trước đó.",
        "The certificate has expired ({not_after}) and nothing proves that the signature existed before.",
    ),
    "proven-only-after-expiry": _t(
        "Chữ ký chỉ được chứng minh là có sau khi chứng thư hết hạn ({not_after}).",
        "The signature is only proven to have existed after the certificate expired ({not_after}).",
    ),
    "claimed-after-proven": _t(
        "Thời điểm khai muộn hơn thời điểm được chứng minh.", "The claimed time is later than the proven one."
    ),
    "expired": _t("Chứng thư trong đường dẫn đã hết hạn.", "A certificate on the path has expired."),
    "path-invalid": _t("Đường dẫn chứng thư không hợp lệ.", "The certificate path is not valid."),
    "path-unreadable": _t("Không đọc được chứng thư trong đường dẫn.", "A certificate on the path cannot be read."),
    "issuer-no-authority": _t(
        "Chứng thư phía trên không phải của cơ quan cấp chứng thư.",
        "A certificate above it is not one of a certification authority.",
    ),
    "issuer-may-not-certify": _t(
        "Khóa của cơ quan cấp không được phép ký chứng thư.", "The issuing key may not sign certificates."
    ),
    "path-too-long": _t(
        "Đường dẫn dài hơn mức cơ quan cấp cho phép.", "The path is longer than an authority on it permits."
    ),
    "name-not-permitted": _t(
        "Tên trong chứng thư nằm ngoài phạm vi tên mà cơ quan cấp được phép.",
        "A name in the certificate lies outside what an authority above it may name.",
    ),
    "policy-missing": _t(
        "Đường dẫn đòi hỏi quy chế chứng thực mà chứng thư không có.",
        "The path demands a certificate policy that the certificate lacks.",
    ),
    "critical-extension-unknown": _t(
        "Chứng thư có phần mở rộng bắt buộc không hiểu được.", "A certificate has an unknown critical extension."
    ),
    "extension-repeated": _t("Chứng thư lặp lại một phần mở rộng.", "A certificate holds the same extension twice."),
    "no-path": _t(
        "Không có đường dẫn từ {issuer} tới gốc tin cậy nào; hãy thêm chứng thư gốc nếu bạn tin cậy.",
        "No path leads from {issuer} to a trusted root; add the root if you trust it.",
    ),
    "no-anchors": _t(
        "Chưa có chứng thư gốc tin cậy nào được chọn; hãy chỉ thư mục chứng thư gốc.",
        "No trusted root was given; name a folder of root certificates.",
    ),
    "set-stale": _t(
        "Danh sách tin cậy đã quá hạn và không được dùng: {sets}. Hãy chạy antin trust refresh.",
        "Trusted sets that are stale and were not used: {sets}. Run antin trust refresh.",
    ),
    "anchor-unknown": _t(
        "Chứng thư gốc không thuộc danh sách tin cậy nào.", "The root belongs to none of the trusted sets."
    ),
    "anchor-not-for-signatures": _t(
        "{anchor} ({set}) không được tin cậy cho chữ ký.", "{anchor} ({set}) is not trusted for signatures."
    ),
    "anchor-not-for-timestamps": _t(
        "{anchor} ({set}) không được tin cậy cho dấu thời gian.", "{anchor} ({set}) is not trusted for timestamps."
    ),
    "service-not-granted-then": _t(
        "Dịch vụ {anchor} ({set}) không ở trạng thái được công nhận tại thời điểm đó.",
        "The service {anchor} ({set}) was not granted at that time.",
    ),
    "time-not-by-a-trusted-set": _t(
        "Thời điểm ký dựa vào dấu thời gian mà không danh sách nào công nhận.",
        "The signing time rests on a timestamp that no trusted set answers for.",
    ),
    # status
    "no-evidence": _t(
        "Không có dữ liệu trạng thái (CRL/OCSP) của {certificate}: không kiểm tra được.",
        "There are no status data (CRL/OCSP) for {certificate}: it cannot be checked.",
    ),
    "evidence-stale": _t(
        "Dữ liệu trạng thái của {certificate} đã quá hạn.", "The status data of {certificate} are stale."
    ),
    "evidence-from-the-future": _t(
        "Dữ liệu trạng thái ghi thời điểm tương lai.", "The status data are dated in the future."
    ),
    "evidence-before-certificate": _t(
        "Dữ liệu trạng thái có trước chứng thư {certificate}.",
        "The status data are older than the certificate {certificate}.",
    ),
    "evidence-after-expiry": _t(
        "Dữ liệu trạng thái lập sau khi {certificate} hết hạn.",
        "The status data were made after {certificate} expired.",
    ),
    "evidence-unreadable": _t("Không đọc được dữ liệu trạng thái.", "The status data cannot be read."),
    "evidence-weak-algorithm": _t(
        "Dữ liệu trạng thái ký bằng thuật toán yếu.", "The status data are signed with a weak algorithm."
    ),
    "responder-not-found": _t(
        "Không tìm thấy chứng thư của máy chủ OCSP.", "The OCSP responder's certificate is not at hand."
    ),
    "response-signature-wrong": _t("Chữ ký trên phản hồi OCSP sai.", "The signature on the OCSP response is wrong."),
    "responder-not-authorised": _t(
        "Máy chủ OCSP không được cơ quan cấp ủy quyền.", "The OCSP responder is not authorised by the issuer."
    ),
    "responder-not-valid-then": _t(
        "Chứng thư máy chủ OCSP không còn hạn khi trả lời.", "The OCSP responder's certificate was not valid then."
    ),
    "responder-status-unknown": _t(
        "Không rõ trạng thái của máy chủ OCSP.", "The OCSP responder's own status is unknown."
    ),
    "crl-issuer-not-authorised": _t("Cơ quan cấp không được phép ký CRL.", "The issuer may not sign CRLs."),
    "crl-out-of-scope": _t("CRL không áp dụng cho chứng thư này.", "The CRL does not apply to this certificate."),
    "crl-unknown-critical-extension": _t(
        "CRL có phần mở rộng bắt buộc không hiểu được.", "The CRL has an unknown critical extension."
    ),
    "crl-signature-wrong": _t("Chữ ký trên CRL sai.", "The signature on the CRL is wrong."),
    "revoked-then": _t("{certificate} đã bị thu hồi từ {since}.", "{certificate} was revoked from {since}."),
    "suspended-then": _t("{certificate} đã bị tạm dừng từ {since}.", "{certificate} was suspended from {since}."),
    "revoked-later": _t(
        "{certificate} còn hiệu lực khi ký; bị thu hồi sau đó ({since}).",
        "{certificate} was in force at signing; it was revoked later ({since}).",
    ),
    # scope
    "is-an-authority": _t(
        "Đây là chứng thư của cơ quan cấp, không dùng để ký tài liệu.",
        "This is an authority's certificate, not one for signing documents.",
    ),
    "not-for-signing": _t("Chứng thư không dành cho ký.", "The certificate is not meant for signing."),
    "no-commitment": _t(
        "Chứng thư không ghi mục đích cam kết nội dung.", "The certificate does not state content commitment."
    ),
    "no-key-usage": _t("Chứng thư không ghi mục đích sử dụng khóa.", "The certificate states no key usage."),
    "purpose-does-not-fit": _t(
        "Mục đích ghi trong chứng thư không gồm ký tài liệu: {found}.",
        "The stated purposes do not include signing documents: {found}.",
    ),
    "none-stated": _t("Chứng thư không nêu.", "The certificate states none."),
    "nameless": _t("Chứng thư không ghi tên.", "The certificate names nobody."),
    "no-identifier": _t(
        "Chứng thư ghi tên nhưng không có mã định danh.", "The certificate names the signer but holds no identifier."
    ),
    "longer-than-three-years": _t("Chứng thư có thời hạn {days} ngày.", "The certificate lives {days} days."),
    # level
    "not-pades": _t("Không phải chữ ký PAdES.", "Not a PAdES signature."),
    "not-intact": _t("Chữ ký không nguyên vẹn nên không có mức.", "The signature is not intact, so it has no level."),
    "signing-time-attribute": _t(
        "Có thuộc tính signing-time mà PAdES không cho phép.",
        "It holds a signing-time attribute, which PAdES does not allow.",
    ),
    "no-claimed-time": _t("Thiếu thời điểm ký khai báo (/M).", "The claimed signing time (/M) is missing."),
    "cannot-be-verified": _t(
        "Không kiểm tra được chữ ký này ({fault}).", "This signature cannot be verified ({fault})."
    ),
    # timestamps
    "not-a-timestamp-token": _t(
        "Giá trị không phải dấu thời gian ({found}).", "The value is not a timestamp token ({found})."
    ),
    "token-unreadable": _t("Không đọc được dấu thời gian.", "The timestamp cannot be read."),
    "imprint-differs": _t("Dấu thời gian đóng cho dữ liệu khác.", "The timestamp stamps other data."),
    "not-for-timestamps": _t(
        "Chứng thư không dành cho cấp dấu thời gian.", "The certificate is not meant for timestamps."
    ),
    "purpose-not-sole-or-critical": _t(
        "Mục đích cấp dấu thời gian không phải duy nhất hoặc không bắt buộc.",
        "The timestamping purpose is not alone or not critical.",
    ),
    "time-missing": _t("Dấu thời gian không ghi thời điểm.", "The timestamp states no time."),
    "time-in-the-future": _t("Thời điểm ở tương lai.", "The time lies in the future."),
    "later-than-what-covers-it": _t("Muộn hơn dấu thời gian bao trùm nó.", "Later than the timestamp that covers it."),
    "older-than-an-earlier-one": _t(
        "Cũ hơn dấu thời gian ở phiên bản trước.", "Older than a timestamp of an earlier revision."
    ),
    "before-certificate": _t(
        "Có trước khi chứng thư người ký được cấp.", "From before the signer's certificate was issued."
    ),
    "authority-expired-since": _t(
        "Chứng thư cấp dấu thời gian nay đã hết hạn, không có dấu nào sau đó.",
        "The timestamp authority's certificate has expired and no later timestamp covers it.",
    ),
    "algorithm-accepted": _t("{algorithm}", "{algorithm}"),
}

CHANGES = {
    "signature-added": _t("Thêm chữ ký", "Signature added"),
    "signature-field-added": _t("Thêm trường chữ ký", "Signature field added"),
    "document-timestamp-added": _t("Thêm dấu thời gian của tài liệu", "Document timestamp added"),
    "validation-data-added": _t("Thêm dữ liệu kiểm tra lâu dài", "Validation data added"),
    "validation-data-removed": _t("Bớt dữ liệu kiểm tra lâu dài", "Validation data removed"),
    "metadata": _t("Cập nhật thông tin mô tả", "Metadata updated"),
    "form-field": _t("Cập nhật trường biểu mẫu", "Form field updated"),
    "form-field-filled": _t("Điền trường biểu mẫu", "Form field filled"),
    "form-field-added": _t("Thêm trường biểu mẫu", "Form field added"),
    "form-field-replaced": _t("Thay hình ảnh của trường biểu mẫu", "Look of a form field replaced"),
    "form-value-replaced": _t("Thay giá trị trường biểu mẫu", "Form field value replaced"),
    "signature-value-replaced": _t("Thay giá trị chữ ký", "Signature value replaced"),
    "signature-hidden": _t("Chữ ký bị ẩn", "Signature hidden"),
    "page-content": _t("Thay nội dung trang", "Page content changed"),
    "page-properties": _t("Thay thuộc tính trang", "Page properties changed"),
    "pages-added": _t("Thêm trang", "Pages added"),
    "pages-removed": _t("Bớt trang", "Pages removed"),
    "annotation-added": _t("Thêm chú thích", "Annotation added"),
    "annotation-changed": _t("Sửa chú thích", "Annotation changed"),
    "annotation-removed": _t("Bớt chú thích", "Annotation removed"),
    "appearance-shared": _t("Thay hình hiển thị dùng chung ở nơi khác", "Appearance that is used elsewhere replaced"),
    "form-field-removed": _t("Bớt trường biểu mẫu", "Form field removed"),
    "structure": _t("Thay cấu trúc ngữ nghĩa (tagged PDF)", "Structure tree of the tagged document changed"),
    "catalog": _t("Thay cấu trúc tài liệu", "Document structure changed"),
    "objects": _t("Thay đối tượng", "Object changed"),
    "bytes-after-signature": _t("Dữ liệu lạ sau chữ ký", "Stray data after the signature"),
    "unsigned-bytes": _t("Dữ liệu không được ký nằm giữa", "Unsigned data in between"),
    "not-analysable": _t("Không phân tích được", "Cannot be analysed"),
}

LABELS = {
    "title": _t("Báo cáo kiểm tra chữ ký số", "Digital signature verification report"),
    "file": _t("Tệp", "File"),
    "digest": _t("Mã băm SHA-256", "SHA-256 digest"),
    "size": _t("Dung lượng", "Size"),
    "pages": _t("Số trang", "Pages"),
    "revisions": _t("Số phiên bản", "Revisions"),
    "judged-at": _t("Kiểm tra lúc", "Verified at"),
    "signature": _t("Chữ ký", "Signature"),
    "issuer": _t("Tổ chức cấp chứng thư", "Issuing organisation"),
    "signer": _t("Thông tin người ký", "Signer's information"),
    "manager": _t("Đơn vị quản lý chứng thư", "Unit managing the certificate"),
    "time": _t("Thời điểm ký hoặc dấu thời gian", "Signing time or timestamp"),
    "integrity": _t("Tính toàn vẹn", "Integrity"),
    "validity-then": _t("Hiệu lực tại thời điểm ký", "Validity at the signing time"),
    "validity-period": _t("Thời hạn của chứng thư", "Validity period of the certificate"),
    "level": _t("Mức chữ ký", "Signature level"),
    "claimed": _t("khai báo", "claimed"),
    "proven": _t("được chứng minh", "proven"),
    "none": _t("không có", "none"),
    "unknown": _t("không rõ", "unknown"),
    "checks": _t("Các bước kiểm tra", "Checks"),
    "check": _t("Kiểm tra", "Check"),
    "result": _t("Kết quả", "Result"),
    "clause": _t("Căn cứ", "Clause"),
    "changes": _t("Thay đổi sau chữ ký này", "Changes after this signature"),
    "no-changes": _t("Không có thay đổi nào sau chữ ký này.", "Nothing changed after this signature."),
    "all-permitted": _t("thay đổi, tất cả đều được phép", "changes, all of them permitted"),
    "permitted": _t("được phép", "permitted"),
    "not-permitted": _t("không được phép", "not permitted"),
    "page": _t("trang", "page"),
    "revision": _t("phiên bản", "revision"),
    "timestamps": _t("Dấu thời gian", "Timestamps"),
    "evidence": _t("Dữ liệu trạng thái đã dùng", "Status data used"),
    "document-timestamps": _t("Dấu thời gian của tài liệu", "Document timestamps"),
    "serial": _t("Số chứng thư", "Certificate serial"),
    "certificate-digest": _t("Mã băm chứng thư", "Certificate digest"),
    "key": _t("Khóa", "Key"),
    "language": _t("Ngôn ngữ", "Language"),
    "file-findings": _t("Kiểm tra toàn tệp", "Checks of the whole file"),
    "footer": _t(
        "Lập tự động, ngoại tuyến, từ chính các byte của tệp, theo Thông tư 15/2025/TT-BKHCN và ETSI EN 319 102-1. "
        "Không phải ý kiến pháp lý.",
        "Made automatically, offline, from the file's own bytes, designed against Circular 15/2025/TT-BKHCN and ETSI "
        "EN 319 102-1. Not legal advice.",
    ),
    "anchors": _t("Số chứng thư gốc tin cậy", "Trusted roots"),
    "verifying": _t("Kiểm tra", "verifying"),
    "reports": _t("Báo cáo đã lưu", "Reports kept"),
    "good": _t("còn hiệu lực", "in force"),
    "revoked": _t("bị thu hồi hoặc tạm dừng", "revoked or suspended"),
    "authority": _t("Cơ quan cấp dấu thời gian", "Timestamp authority"),
    "engines": _t("Các bộ kiểm tra", "Engines"),
    "engines-agree": _t("Các bộ kiểm tra đồng ý với nhau", "The engines agree"),
    "engines-differ": _t("Các bộ kiểm tra khác nhau", "The engines differ"),
    "engines-silent": _t("Bộ kiểm tra thứ hai không kết luận được", "The second engine cannot say"),
    "engine-absent": _t("không được hỏi (chưa cài đặt)", "not asked (not installed)"),
    "not-understood": _t("Không rõ vì sao.", "For no known reason."),
    "on-signatures": _t("có những chữ ký nào", "which signatures there are"),
    "on-integrity": _t("tính toàn vẹn", "integrity"),
    "on-verdict": _t("kết luận", "verdict"),
    "cannot-say": _t("không kết luận được", "cannot say"),
    "present": _t("có", "present"),
    "absent": _t("không có", "absent"),
}

COLUMNS = {
    "field": _t("trường", "field"),
    "signer": _t("ai ký", "signer"),
    "when": _t("khi nào", "when"),
    "level": _t("mức", "level"),
    "verdict": _t("kết quả", "verdict"),
}


def check(code: str) -> Text:
    """The name of a check."""
    return CHECKS.get(code, Text(code, code))


def reason(code: str, detail: Mapping[str, object]) -> Text:
    """Why a check came out as it did."""
    return REASONS.get(code, Text(code, code)).filled(detail)


def explanation(row_why: str | None) -> Text:
    """What is known of a difference between engines."""
    return EXPLANATIONS.get(row_why or "", LABELS["not-understood"])


def change(what: str) -> Text:
    """What a later revision did."""
    return CHANGES.get(what, Text(what, what))
