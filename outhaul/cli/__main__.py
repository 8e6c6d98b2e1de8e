from outhaul.cli import main

main()
