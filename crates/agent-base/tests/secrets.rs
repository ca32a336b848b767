//! Where secrets come from.

use orchestr8_agent_base::Secrets;
use orchestr8_schema::ErrorKind;

#[cfg(unix)]
#[test]
fn a_file_of_secrets_is_refused_unless_it_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secrets.json");
    let secrets = Secrets::none().file(&file);
    let kind = |reference: &str| secrets.find(reference).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind("secret://mail/password"), Err(ErrorKind::NotFound));

    std::fs::write(&file, r#"{"mail/password": "opensesame"}"#).expect("written");
    for (mode, expected) in [
        (0o600, Ok(())),
        (0o400, Ok(())),
        (0o640, Err(ErrorKind::Denied)),
        (0o604, Err(ErrorKind::Denied)),
        (0o700, Err(ErrorKind::Denied)),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(kind("secret://mail/password"), expected, "{mode:o}");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(secrets.find("secret://mail/password").expect("there").expose(), "opensesame");
    assert_eq!(kind("secret://mail/user"), Err(ErrorKind::NotFound));
    assert_eq!(kind("mail/password"), Err(ErrorKind::Validation));

    std::fs::write(&file, r#"{"mail/password": "opensesame" oops"#).expect("written");
    let error = secrets.find("secret://mail/password").expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert!(!format!("{error:?}").contains("opensesame"), "{error:?}");
}
