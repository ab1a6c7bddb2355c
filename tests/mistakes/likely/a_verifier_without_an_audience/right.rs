use stonework::jwt::{Algorithm, InvalidJwt, Keys, Verifier};

fn main() -> Result<(), InvalidJwt> {
    let verifier = Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::Es256]);
    let _ = verifier.issuer("https://id.example").audience("https://api.example").build()?;
    Ok(())
}
